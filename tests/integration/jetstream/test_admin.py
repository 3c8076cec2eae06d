"""The topology is created once, unchanged when it matches, updated where possible, refused where it is immutable."""

from __future__ import annotations

import msgspec
import pytest

from syntor.contracts.errors import ConfigurationError, NotFoundError
from syntor.contracts.topology import (
    BLOBS_STREAM,
    CONSUMERS,
    EVENTS,
    ORCHESTRATOR_DECISIONS,
    STREAMS,
    TIMERS,
    ConsumerSpec,
    StreamSpec,
    task_queue_consumer,
)
from syntor.jetstream import admin
from syntor.jetstream.admin import api, apply_topology, consumer_info, ensure_consumer, stream_state
from syntor.jetstream.connection import Connection
from syntor.testing.events import new_event, user_input
from syntor.testing.log import Log
from syntor.testing.nats_server import NatsServer

ON_BOTH = pytest.mark.parametrize("connection", ["real", "simulated"], indirect=True)


def with_changed(name: str, **fields: object) -> tuple[StreamSpec, ...]:
    return tuple(msgspec.structs.replace(spec, **fields) if spec.name == name else spec for spec in STREAMS)


@ON_BOTH
async def test_an_empty_server_gets_everything(connection: Connection) -> None:
    changes = await apply_topology(connection)

    assert [change for change in changes if change.endswith("created")] == [
        f"stream {spec.name} created" for spec in STREAMS
    ]
    assert [change for change in changes if "consumer" in change] == [
        f"consumer {spec.name} created on {spec.stream}" for spec in CONSUMERS
    ]
    log = (await api(connection, f"STREAM.INFO.{EVENTS}"))["config"]
    assert (log["discard"], log["deny_delete"], log["deny_purge"]) == ("new", True, True)
    assert (await api(connection, f"STREAM.INFO.{BLOBS_STREAM}"))["config"]["allow_rollup_hdrs"] is True


async def test_applying_again_changes_nothing(nats_server: NatsServer, connection: Connection) -> None:
    await apply_topology(connection)

    assert await apply_topology(connection) == []


async def test_what_differs_is_updated_and_named(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    await apply_topology(connection)
    monkeypatch.setattr(admin, "STREAMS", with_changed(TIMERS, description="Other words", max_age_s=86400.0))

    assert await apply_topology(connection) == [f"stream {TIMERS} updated: description, max_age"]
    assert await apply_topology(connection) == []


async def test_a_manual_change_is_reverted_but_an_undeclared_limit_stays(connection: Connection) -> None:
    await apply_topology(connection)
    config = (await api(connection, f"STREAM.INFO.{EVENTS}"))["config"]
    await api(connection, f"STREAM.UPDATE.{EVENTS}", config | {"discard": "old", "max_msgs": 1000})

    assert await apply_topology(connection) == [f"stream {EVENTS} updated: discard"]
    assert (await api(connection, f"STREAM.INFO.{EVENTS}"))["config"]["max_msgs"] == 1000


async def test_an_immutable_change_is_refused_with_both_values(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await apply_topology(connection)
    monkeypatch.setattr(admin, "STREAMS", with_changed(TIMERS, storage="memory"))

    with pytest.raises(ConfigurationError, match=rf"{TIMERS}.*storage is 'file' and cannot become 'memory'"):
        await apply_topology(connection)


async def test_a_change_the_server_rejects_is_refused_with_its_text(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await apply_topology(connection)
    monkeypatch.setattr(admin, "STREAMS", with_changed(EVENTS, deny_purge=False))

    with pytest.raises(ConfigurationError, match="can not cancel deny purge"):
        await apply_topology(connection)


async def test_replicas_without_a_cluster_are_refused(connection: Connection) -> None:
    with pytest.raises(ConfigurationError, match="replicas"):
        await apply_topology(connection, replicas=3)


async def test_a_consumer_can_change_all_but_its_start_policy(connection: Connection) -> None:
    await apply_topology(connection)
    spec = task_queue_consumer("git")
    assert await ensure_consumer(connection, spec) == ["consumer agents-git created on SYNTOR_EVENTS"]
    assert await ensure_consumer(connection, spec) == []

    changed = msgspec.structs.replace(
        spec, ack_wait_s=9.0, filter_subjects=["syntor.events.run.*.task_assigned.other"], deliver_policy="all"
    )

    assert await ensure_consumer(connection, changed) == ["consumer agents-git updated: filter_subjects, ack_wait"]
    assert await ensure_consumer(connection, changed) == []
    config = (await api(connection, f"CONSUMER.INFO.{EVENTS}.agents-git"))["config"]
    assert (config["deliver_policy"], config["ack_wait"]) == ("new", 9_000_000_000)


async def test_a_change_of_the_ack_policy_is_refused(connection: Connection) -> None:
    await apply_topology(connection)
    config = {"durable_name": "other", "ack_policy": "none", "deliver_policy": "all"}
    body = {"stream_name": EVENTS, "config": config, "action": "create"}
    await api(connection, f"CONSUMER.CREATE.{EVENTS}.other", body)
    spec = ConsumerSpec(
        stream=EVENTS, name="other", description="", filter_subjects=[], ack_wait_s=5.0, max_ack_pending=10
    )

    with pytest.raises(ConfigurationError, match="ack_policy is 'none' and cannot become 'explicit'"):
        await ensure_consumer(connection, spec)


@ON_BOTH
async def test_state_and_lag_are_returned(log: Log) -> None:
    await log.store.append(user_input("r1"), 0)
    await log.store.append(user_input("r2"), 0)

    state = await stream_state(log.connection, EVENTS)
    info = await consumer_info(log.connection, ORCHESTRATOR_DECISIONS)

    assert (state.messages, state.first, state.last) == (2, 1, 2)
    assert state.bytes > 0
    assert (info.pending, info.ack_pending, info.redelivered, info.waiting) == (2, 0, 0, 0)


@ON_BOTH
async def test_a_missing_stream_or_consumer_is_not_found(connection: Connection) -> None:
    with pytest.raises(NotFoundError):
        await stream_state(connection, "NOTHING")


@ON_BOTH
async def test_the_log_cannot_be_purged(log: Log) -> None:
    await log.store.append(new_event("r1", user_input("r1").event), 0)

    with pytest.raises(Exception, match="purge"):
        await api(log.connection, f"STREAM.PURGE.{EVENTS}")

    assert (await stream_state(log.connection, EVENTS)).messages == 1
