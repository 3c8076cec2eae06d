"""Creates and reconciles streams and consumers, and reads their state."""

from __future__ import annotations

from typing import Any

import msgspec

from syntor.contracts.decoding import UNDECODABLE
from syntor.contracts.errors import ConfigurationError, InfrastructureError, NotFoundError, NotReachableError
from syntor.contracts.topology import CONSUMERS, STREAMS, ConsumerSpec, StreamSpec
from syntor.jetstream.connection import Connection
from syntor.jetstream.errors import ApiFault, fault_to_error

_NS = 1_000_000_000  # the API counts durations in nanoseconds
_IMMUTABLE_STREAM = ("storage",)
_IMMUTABLE_CONSUMER = ("ack_policy", "replay_policy")


class StreamState(msgspec.Struct, frozen=True):
    """Size and bounds of a stream."""

    messages: int
    bytes: int
    first: int
    """Sequence of the oldest message."""
    last: int
    """Sequence of the newest message, 0 for an empty stream that never held one."""


class ConsumerInfo(msgspec.Struct, frozen=True):
    """Progress of a durable consumer."""

    pending: int
    """Matching messages not delivered yet."""
    ack_pending: int
    """Delivered, not acknowledged."""
    redelivered: int
    waiting: int
    """Pull requests waiting for messages."""
    acknowledged: int
    """Stream sequence up to which every message is acknowledged."""
    delivered: int
    """Highest stream sequence delivered."""
    delivered_sequence: int
    """Number of its newest delivery within the consumer."""


async def api(connection: Connection, subject: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Send a request to the JetStream API and return its response.

    Raises:
        NotFoundError: the stream or consumer does not exist.
        InfrastructureError: the server refused the request, or did not respond in time.
        ConfigurationError: the requested configuration cannot be applied.
    """
    payload = msgspec.json.encode(body) if body is not None else b""
    reply = await connection.request_unchecked(f"$JS.API.{subject}", payload, timeout_s=10.0)
    if reply.status == "503" and not reply.payload:
        raise NotReachableError(
            f"JetStream does not respond at {connection.url}: it is off there (see deploy/nats/durable.conf), or the "
            "stream has no leader"
        )
    try:
        response = msgspec.json.decode(reply.payload, type=dict[str, Any])
    except UNDECODABLE as exc:
        raise InfrastructureError(f"{subject}: unreadable response of the JetStream API") from exc
    if "error" in response:
        raise fault_to_error(subject, msgspec.convert(response["error"], ApiFault))
    return response


async def stream_state(connection: Connection, stream: str) -> StreamState:
    """Return size and bounds of a stream; raise NotFoundError if it does not exist."""
    state = (await api(connection, f"STREAM.INFO.{stream}"))["state"]
    return StreamState(state["messages"], state["bytes"], state["first_seq"], state["last_seq"])


async def subjects_of(connection: Connection, stream: str, filter_subject: str) -> list[str]:
    """Return the subjects of a stream's messages that match a filter; raise NotFoundError if it does not exist."""
    found: list[str] = []
    while True:
        body = {"subjects_filter": filter_subject, "offset": len(found)}
        info = await api(connection, f"STREAM.INFO.{stream}", body)
        page: dict[str, int] = info["state"].get("subjects") or {}
        found += page
        if not page or len(found) >= info.get("total", 0):
            return found


async def replicas_of(connection: Connection, stream: str) -> int:
    """Return the number of replicas of a stream; raise NotFoundError if it does not exist."""
    return int((await api(connection, f"STREAM.INFO.{stream}"))["config"]["num_replicas"])


async def consumer_info(connection: Connection, spec: ConsumerSpec) -> ConsumerInfo:
    """Return the progress of a durable consumer; raise NotFoundError if it does not exist."""
    info = await api(connection, f"CONSUMER.INFO.{spec.stream}.{spec.name}")
    delivered = info["delivered"]
    return ConsumerInfo(
        info["num_pending"],
        info["num_ack_pending"],
        info["num_redelivered"],
        info["num_waiting"],
        info["ack_floor"]["stream_seq"],
        delivered["stream_seq"],
        delivered["consumer_seq"],
    )


async def apply_topology(connection: Connection, *, replicas: int | None = None) -> list[str]:
    """Make the server match the declared streams and consumers; return a line for each change.

    Args:
        replicas: replicas of each stream; None: unchanged, and 1 for a new stream.

    Raises:
        ConfigurationError: a declared value cannot be changed on an existing stream or consumer.
        InfrastructureError: the server refused a request, or did not respond in time.
    """
    changes: list[str] = []
    for stream in STREAMS:
        changes += await ensure_stream(connection, stream, replicas)
    for consumer in CONSUMERS:
        changes += await ensure_consumer(connection, consumer)
    return changes


async def ensure_consumer(connection: Connection, spec: ConsumerSpec) -> list[str]:
    """Create a durable consumer, or update an existing one to its declaration; return a line for each change."""
    wanted = _consumer_config(spec)
    try:
        found = (await api(connection, f"CONSUMER.INFO.{spec.stream}.{spec.name}"))["config"]
    except NotFoundError:
        await _create_consumer(connection, spec, wanted)
        return [f"consumer {spec.name} created on {spec.stream}"]
    # the start policy is immutable, and the declared one is for new consumers only
    started = {field: found[field] for field in ("deliver_policy", "opt_start_seq", "opt_start_time") if field in found}
    wanted |= started
    differing = _differing(wanted, found)
    if not differing:
        return []
    for field in _IMMUTABLE_CONSUMER:
        if field in differing:
            raise ConfigurationError(_immutable(f"consumer {spec.name}", field, found.get(field), wanted[field]))
    await _create_consumer(connection, spec, wanted)
    return [f"consumer {spec.name} updated: {', '.join(differing)}"]


async def _create_consumer(connection: Connection, spec: ConsumerSpec, config: dict[str, Any]) -> None:
    body = {"stream_name": spec.stream, "config": config, "action": ""}
    await api(connection, f"CONSUMER.CREATE.{spec.stream}.{spec.name}", body)


async def ensure_stream(connection: Connection, spec: StreamSpec, replicas: int | None = None) -> list[str]:
    """Create a stream, or update an existing one to its declaration; return a line for each change."""
    try:
        found = (await api(connection, f"STREAM.INFO.{spec.name}"))["config"]
        wanted = _stream_config(spec, replicas or int(found["num_replicas"]))
    except NotFoundError:
        await api(connection, f"STREAM.CREATE.{spec.name}", _stream_config(spec, replicas or 1))
        return [f"stream {spec.name} created"]
    differing = _differing(wanted, found)
    for field in _IMMUTABLE_STREAM:
        if field in differing:
            raise ConfigurationError(_immutable(f"stream {spec.name}", field, found.get(field), wanted[field]))
    if not differing:
        return []
    await api(connection, f"STREAM.UPDATE.{spec.name}", found | wanted)
    return [f"stream {spec.name} updated: {', '.join(differing)}"]


def _immutable(what: str, field: str, found: object, wanted: object) -> str:
    return f"{what}: {field} is {found!r} and cannot become {wanted!r}; back it up, delete it and apply again"


def _differing(wanted: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Return the fields whose value differs from the declared one; fields only the server sets are ignored."""
    return [field for field, value in wanted.items() if found.get(field, _absent(value)) != value]


def _absent(value: Any) -> Any:
    """Return the value that a field missing in an API response stands for: the zero of its type."""
    return type(value)() if isinstance(value, (bool, int, str)) else None


def _stream_config(spec: StreamSpec, replicas: int) -> dict[str, Any]:
    config: dict[str, Any] = {
        "name": spec.name,
        "description": spec.description,
        "subjects": spec.subjects,
        "retention": "limits",
        "storage": spec.storage,
        "discard": spec.discard,
        "deny_delete": spec.deny_delete,
        "deny_purge": spec.deny_purge,
        "allow_direct": spec.allow_direct,
        "allow_atomic": spec.allow_atomic,
        "allow_msg_schedules": spec.allow_msg_schedules,
        "allow_msg_ttl": spec.allow_msg_ttl,
        "allow_rollup_hdrs": spec.allow_rollup_hdrs,
        "max_msgs_per_subject": spec.max_msgs_per_subject,
        "max_age": int(spec.max_age_s * _NS),
        "duplicate_window": int(spec.duplicate_window_s * _NS),
        "num_replicas": replicas,
        "compression": spec.compression,
    }
    if spec.subject_delete_marker_ttl_s is not None:
        config["subject_delete_marker_ttl"] = int(spec.subject_delete_marker_ttl_s * _NS)
    return config


def _consumer_config(spec: ConsumerSpec) -> dict[str, Any]:
    return {
        "durable_name": spec.name,
        "name": spec.name,
        "description": spec.description,
        "filter_subjects": spec.filter_subjects,
        "deliver_policy": spec.deliver_policy,
        "ack_policy": "explicit",
        "ack_wait": int(spec.ack_wait_s * _NS),
        "max_deliver": -1,  # the consumer counts deliveries: a message at the server's limit could not be dead-lettered
        "max_ack_pending": spec.max_ack_pending,
        "replay_policy": "instant",
    }
