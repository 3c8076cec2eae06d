"""Checks of the log through nats-server's monitoring endpoint: durability, streams, lag, dead letters, clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from syntor.cli.finding import Finding, note, ok, problem
from syntor.cli.http_get import get
from syntor.contracts import topology

_TIMEOUT_S = 3.0
_LAG = 100  # pending messages of a consumer that are normal under load
_SERVICES = frozenset(spec.name for spec in topology.CONSUMERS)
_CLOCK_STEP = timedelta(seconds=2)  # clocks of one machine differ by less


class State(msgspec.Struct, frozen=True):
    """State of a stream."""

    messages: int = 0
    bytes: int = 0
    last_seq: int = 0
    last_ts: datetime | None = None


class Consumer(msgspec.Struct, frozen=True):
    """A consumer of a stream."""

    name: str
    num_pending: int = 0
    num_ack_pending: int = 0
    num_redelivered: int = 0


class Stream(msgspec.Struct, frozen=True):
    """A stream and its consumers."""

    name: str
    state: State
    consumer_detail: list[Consumer] = []


class _Account(msgspec.Struct, frozen=True):
    stream_detail: list[Stream] = []


class _Config(msgspec.Struct, frozen=True):
    sync_interval: int = 0
    """Nanoseconds."""
    sync_always: bool = False


class Jsz(msgspec.Struct, frozen=True):
    """The parts of `/jsz?streams=true&consumers=true&config=true` that are looked at."""

    config: _Config = _Config()
    account_details: list[_Account] = []

    def streams(self) -> dict[str, Stream]:
        """Return the streams by name."""
        return {stream.name: stream for account in self.account_details for stream in account.stream_detail}


def log_findings(monitor_url: str, now: datetime, read_up_to: int) -> list[Finding]:
    """Query a nats-server and return findings; `read_up_to` is the position of the read models, 0: unknown."""
    status, body = get(f"{monitor_url}/jsz?streams=true&consumers=true&config=true", _TIMEOUT_S)
    if status != 200:
        return [
            problem("log", f"no response at {monitor_url}: {body.decode('utf-8', 'replace')[:100]}", "syntor logs nats")
        ]
    return judge(msgspec.json.decode(body, type=Jsz), now, read_up_to)


def judge(found: Jsz, now: datetime, read_up_to: int = 0) -> list[Finding]:
    """Return the findings in the server's response."""
    return [_durability(found.config), *judge_streams(found.streams(), now, read_up_to)]


def judge_streams(streams: dict[str, Stream], now: datetime, read_up_to: int = 0) -> list[Finding]:
    """Return the findings on streams and their consumers."""
    findings: list[Finding] = []
    missing = [spec.name for spec in topology.STREAMS if spec.name not in streams]
    if missing:
        findings.append(problem("streams", f"missing: {', '.join(missing)}", "syntor admin apply"))
    if (log := streams.get(topology.EVENTS)) is not None:
        size = f"{log.state.messages} events, {log.state.bytes / 1e6:.1f} MB, last position {log.state.last_seq}"
        findings.append(ok("log", size))
        if read_up_to > log.state.last_seq:
            findings.append(
                problem(
                    "read models",
                    f"at position {read_up_to}, but the log ends at {log.state.last_seq}: it was restored from an old "
                    "copy, or lost its newest events",
                    "bring the newer log back (syntor backup restore); or take this one as it is: syntor replay",
                )
            )
    findings.append(_lag(list(streams.values())))
    findings.append(_dead_letters(streams.get(topology.DEAD_LETTERS)))
    findings.append(_clock(streams.get(topology.EVENTS), now))
    return findings


def _durability(config: _Config) -> Finding:
    if config.sync_always:
        return ok("durability", "every acknowledged event is on disk")
    interval_s = config.sync_interval / 1e9
    return note(
        "durability",
        f"synced every {interval_s:g} s: a power loss may lose later writes",
        "syntor down, then syntor up --durability durable",
    )


def _lag(streams: list[Stream]) -> Finding:
    consumers = [consumer for stream in streams for consumer in stream.consumer_detail if _is_ours(consumer.name)]
    lagging = [
        f"{consumer.name} has {consumer.num_pending} pending messages ({consumer.num_ack_pending} in progress)"
        for consumer in consumers
        if consumer.num_pending > _LAG
    ]
    if lagging:
        return problem("lag", "; ".join(lagging), "is its service running? syntor status; syntor logs SERVICE")
    redelivered = sum(consumer.num_redelivered for consumer in consumers)
    if redelivered:
        return note("lag", f"none, but {redelivered} messages are being redelivered", "syntor logs")
    return ok("lag", "no consumer lags")


def _is_ours(consumer: str) -> bool:
    """Return whether a service depends on a consumer; a reader of someone else's may be as far behind as it likes."""
    return consumer in _SERVICES or consumer.startswith(topology.task_queue_consumer("").name)


def _dead_letters(stream: Stream | None) -> Finding:
    count = stream.state.messages if stream is not None else 0
    if count:
        return problem(
            "dead letters",
            f"{count} messages were dead-lettered in the last 30 days",
            "each has a cause: syntor dlq list",
        )
    return ok("dead letters", "none")


def _clock(stream: Stream | None, now: datetime) -> Finding:
    last = stream.state.last_ts if stream is not None else None
    if last is not None and stream is not None and stream.state.last_seq and last.astimezone(UTC) > now + _CLOCK_STEP:
        return problem(
            "clock",
            f"the last event is of {last:%Y-%m-%d %H:%M:%S}, but it is {now:%Y-%m-%d %H:%M:%S} now",
            "set the clock (for example: timedatectl set-ntp true); deadlines are wrong until then",
        )
    return ok("clock", f"{now:%Y-%m-%d %H:%M:%S} UTC, not earlier than the last event")
