"""An append is stored once or refused, whatever happens to acknowledgements, connection and server."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from syntor.contracts import subjects
from syntor.contracts.errors import (
    InfrastructureError,
    MalformedMessageError,
    NotReachableError,
    OutcomeUnknownError,
    RevisionConflictError,
    StorageFullError,
)
from syntor.contracts.run.v1 import RunStarted
from syntor.contracts.topology import EVENTS
from syntor.eventsourcing.store import NewEvent
from syntor.jetstream import appender
from syntor.jetstream.admin import api, apply_topology
from syntor.jetstream.appender import Append
from syntor.jetstream.connection import Connection, Message, connect
from syntor.jetstream.store import JetStreamStore
from syntor.testing.events import new_event, stream_delta, user_input
from syntor.testing.log import Log
from syntor.testing.nats_server import NatsServer

ON_BOTH = pytest.mark.parametrize("connection", ["real", "simulated"], indirect=True)

DEADLINE_S = 30.0


@pytest.fixture
def always_grouped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every queued append leave as a batch, however fast the disk is."""
    monkeypatch.setattr(appender, "MAX_IN_FLIGHT", 1)
    monkeypatch.setattr(appender, "MIN_BATCH", 2)
    monkeypatch.setattr(appender, "FIRST_BATCH_S", -1.0)
    monkeypatch.setattr(appender, "BATCH_LEARNING_RATE", 0.0)


class LosingConnection:
    """A connection that loses acknowledgements: the publish arrives, its reply does not."""

    def __init__(self, inner: Connection, losses: int, before_loss: Callable[[], Awaitable[Any]] | None = None) -> None:
        self._inner = inner
        self._losses = losses
        self._before_loss = before_loss

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def request_unchecked(self, subject: str, payload: bytes, **options: Any) -> Message:
        reply = await self._inner.request_unchecked(subject, payload, **options)
        if self._losses:
            self._losses -= 1
            if self._before_loss is not None:
                await self._before_loss()
            raise NotReachableError("the connection broke")
        return reply


def losing(log: Any, losses: int, before_loss: Callable[[], Awaitable[Any]] | None = None, **options: Any) -> Any:
    store = JetStreamStore(log.connection, **options)
    store._appender._connection = LosingConnection(log.connection, losses, before_loss)  # type: ignore[assignment]
    return store


async def stored(log: Any) -> list[tuple[int, str]]:
    return [(recorded.position, recorded.envelope.id) async for recorded in log.store.load(subjects.ALL_EVENTS)]


async def batches_in(log: Any) -> list[str]:
    """Return the batch ids of the stored messages, one for each batch."""
    found: dict[str, None] = {}
    async for message in log.store.load_raw(subjects.ALL_EVENTS):
        raw = await log.connection.request(f"$JS.API.DIRECT.GET.{EVENTS}", b'{"seq":%d}' % message.position)
        if "Nats-Batch-Id" in raw.headers:
            found[raw.headers["Nats-Batch-Id"]] = None
    return list(found)


# lost acknowledgements


@ON_BOTH
async def test_a_lost_acknowledgement_is_resolved_to_the_stored_position(log: Log) -> None:
    new = user_input("r1")

    position = await losing(log, 1).append(new, 0)

    assert await stored(log) == [(position, new.message_id)]


@ON_BOTH
async def test_a_lost_acknowledgement_is_resolved_before_later_appends_of_others(log: Log) -> None:
    new = user_input("r1")

    async def others() -> None:
        position = await log.store.append(new_event("r1", RunStarted(agent="worker"), version=2), 1)
        await log.store.append(user_input("r1", "of the same type", version=3), position)

    assert await losing(log, 1, others).append(new, 0) == 1
    assert len(await stored(log)) == 3


@ON_BOTH
async def test_a_conflict_with_another_writer_after_a_lost_attempt_stays_a_conflict(log: Log) -> None:
    await log.store.append(user_input("r1"), 0)
    new = new_event("r1", RunStarted(agent="worker"), version=2)

    with pytest.raises(RevisionConflictError):
        await losing(log, 1).append(new, 0)
    assert len(await stored(log)) == 1


@ON_BOTH
async def test_a_lost_acknowledgement_without_a_check_is_resolved_too(log: Log) -> None:
    new = stream_delta("r1")

    position = await losing(log, 3).append(new, None)

    assert await stored(log) == [(position, new.message_id)]


@ON_BOTH
async def test_a_lost_acknowledgement_of_a_batch_is_resolved_for_each_in_it(log: Log, always_grouped: None) -> None:
    store = losing(log, 2, group_commit=True)  # of the first, which went alone, and of the batch
    events = [user_input(f"r{number}") for number in range(20)]

    positions = await asyncio.gather(*(store.append(event, 0) for event in events))

    assert sorted(await stored(log)) == sorted((p, e.message_id) for p, e in zip(positions, events, strict=True))
    assert len(await batches_in(log)) == 1


# group commit


@ON_BOTH
async def test_queued_appends_leave_as_one_batch(log: Log, always_grouped: None) -> None:
    store = JetStreamStore(log.connection, group_commit=True)
    events = [user_input(f"r{number}") for number in range(50)]

    positions = await asyncio.gather(*(store.append(event, 0) for event in events))

    assert sorted(await stored(log)) == sorted((p, e.message_id) for p, e in zip(positions, events, strict=True))
    assert len(await batches_in(log)) == 1


async def test_a_single_append_is_sent_immediately(log: Log, always_grouped: None) -> None:
    store = JetStreamStore(log.connection, group_commit=True)

    for number in range(3):
        await store.append(user_input(f"r{number}"), 0)

    assert await batches_in(log) == []


@ON_BOTH
async def test_a_conflict_in_a_batch_fails_only_its_own_append(log: Log, always_grouped: None) -> None:
    await log.store.append(user_input("r7"), 0)
    store = JetStreamStore(log.connection, group_commit=True)
    events = [user_input(f"r{number}") for number in range(20)]

    outcomes = await asyncio.gather(*(store.append(event, 0) for event in events), return_exceptions=True)

    refused = [number for number, outcome in enumerate(outcomes) if isinstance(outcome, RevisionConflictError)]
    assert refused == [7]
    assert len(await stored(log)) == 20


async def test_an_append_that_cannot_be_sent_fails_alone(log: Log, always_grouped: None) -> None:
    first = asyncio.create_task(log.store.append(user_input("r0"), 0))
    await asyncio.sleep(0)
    limit = 8 * 1024 * 1024
    headers = {"Nats-Msg-Id": "large"}
    large = log.store._appender.append(Append("syntor.events.run.large.user_input", b"x" * limit, headers))
    others = [log.store.append(user_input(f"r{number}"), 0) for number in range(1, 4)]

    outcomes = await asyncio.wait_for(asyncio.gather(first, large, *others, return_exceptions=True), DEADLINE_S)

    assert [type(outcome) for outcome in outcomes] == [int, MalformedMessageError, int, int, int]
    assert await asyncio.wait_for(log.store.append(user_input("r9"), 0), DEADLINE_S)


async def test_two_appends_to_one_aggregate_are_never_in_one_batch(log: Log, always_grouped: None) -> None:
    store = JetStreamStore(log.connection, group_commit=True)
    events = [user_input(f"r{number % 10}") for number in range(40)]

    outcomes = await asyncio.gather(*(store.append(event, 0) for event in events), return_exceptions=True)

    assert sum(isinstance(outcome, int) for outcome in outcomes) == 10
    assert sum(isinstance(outcome, RevisionConflictError) for outcome in outcomes) == 30


@ON_BOTH
async def test_events_without_a_check_keep_their_order_in_a_batch(log: Log, always_grouped: None) -> None:
    store = JetStreamStore(log.connection, group_commit=True)

    positions = await asyncio.gather(*(store.append(stream_delta("r1", index=n), None) for n in range(30)))

    assert list(positions) == sorted(positions)


async def test_a_cancelled_append_does_not_block_others(log: Log, always_grouped: None) -> None:
    store = JetStreamStore(log.connection, group_commit=True)
    tasks = [asyncio.create_task(store.append(user_input(f"r{number}"), 0)) for number in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()

    outcomes = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), DEADLINE_S)

    assert all(isinstance(outcome, int) for outcome in outcomes[1::2])
    assert isinstance(await store.append(user_input("r99"), 0), int)


# a server that is down, frozen, full or killed


@pytest.mark.parametrize("group_commit", [False, True])
async def test_a_full_log_is_an_immediate_error(log: Log, group_commit: bool, always_grouped: None) -> None:
    config = (await api(log.connection, f"STREAM.INFO.{EVENTS}"))["config"]
    await api(log.connection, f"STREAM.UPDATE.{EVENTS}", config | {"max_msgs": 2})
    store = JetStreamStore(log.connection, group_commit=group_commit)

    appends = (store.append(user_input(f"r{number}"), 0) for number in range(10))
    outcomes = await asyncio.wait_for(asyncio.gather(*appends, return_exceptions=True), 5)

    assert sum(isinstance(outcome, StorageFullError) for outcome in outcomes) == 8
    assert len(await stored(log)) == 2


async def test_an_append_waits_for_a_server_restart(log: Log) -> None:
    log.server.kill()
    appending_ = asyncio.create_task(log.store.append(user_input("r1"), 0))
    await asyncio.to_thread(log.server.start)

    assert await asyncio.wait_for(appending_, DEADLINE_S) == 1


async def test_a_server_that_stays_down_is_not_reachable(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(appender, "RETRY_S", 0.3)
    log.server.kill()

    with pytest.raises((NotReachableError, OutcomeUnknownError)):  # unknown where it was sent just before
        await log.store.append(user_input("r1"), 0)
    with pytest.raises(NotReachableError):
        await log.store.append(user_input("r2"), 0)


async def test_the_outcome_of_a_frozen_server_is_unknown_and_a_retry_resolves_it(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = user_input("r1")
    with monkeypatch.context() as short:
        short.setattr(appender, "RETRY_S", 0.4)
        short.setattr(appender, "REPLY_TIMEOUT_S", 0.1)
        log.server.send(signal.SIGSTOP)
        with pytest.raises(OutcomeUnknownError):
            await log.store.append(new, 0)
        log.server.send(signal.SIGCONT)

    position = await log.store.append(new, 0)

    assert await stored(log) == [(position, new.message_id)]


async def test_closing_the_connection_ends_appends_in_flight(nats_server: NatsServer) -> None:
    connection = await connect(nats_server.url, "syntor/test")
    await apply_topology(connection)
    store = JetStreamStore(connection, group_commit=True)
    nats_server.send(signal.SIGSTOP)
    appends = [asyncio.create_task(store.append(user_input(f"r{number}"), 0)) for number in range(40)]
    await asyncio.sleep(0)

    await connection.close()

    outcomes = await asyncio.wait_for(asyncio.gather(*appends, return_exceptions=True), 5)
    assert all(isinstance(outcome, InfrastructureError) for outcome in outcomes)
    await asyncio.wait_for(store.close(), 5)


class Writers:
    """Twelve writers, each appending a sequence of events to its own aggregate."""

    def __init__(self, store: JetStreamStore) -> None:
        self._store = store
        self._more = asyncio.Event()
        self.acknowledged: list[tuple[int, str]] = []
        """Positions and message ids."""

    async def run(self) -> None:
        await asyncio.gather(*(self._write(f"r{number}") for number in range(12)))

    async def reached(self, count: int) -> None:
        """Wait until a number of appends were acknowledged."""
        while len(self.acknowledged) < count:
            self._more.clear()
            await asyncio.wait_for(self._more.wait(), DEADLINE_S)

    async def _write(self, run_id: str) -> None:
        revision = 0
        for version in range(1, 121):
            new: NewEvent = user_input(run_id, f"{version}", version=version)
            revision = await self._store.append(new, revision)
            self.acknowledged.append((revision, new.message_id))
            self._more.set()


@pytest.mark.parametrize("how", ["single", "grouped"])
@pytest.mark.parametrize("blow", ["kill", "freeze and kill", "break the connection"])
async def test_every_acknowledged_append_is_stored_once_through_three_crashes(
    tmp_path: Path, how: str, blow: str, request: pytest.FixtureRequest
) -> None:
    if how == "grouped":
        request.getfixturevalue("always_grouped")
    with NatsServer(tmp_path / "nats", sync="always" if how == "grouped" else "100ms") as server:
        connection = await connect(server.url, "syntor/test")
        await apply_topology(connection)
        store = JetStreamStore(connection, group_commit=how == "grouped")
        writers = Writers(store)
        writing = asyncio.create_task(writers.run())
        for count in (100, 500, 1000):
            await writers.reached(count)
            if blow == "break the connection":
                await connection.reconnect()
            elif blow == "kill":
                server.restart()
            else:
                server.send(signal.SIGSTOP)
                await asyncio.wait([writing], timeout=0.05)  # appends that get no acknowledgement are sent in this time
                server.restart()

        await asyncio.wait_for(writing, DEADLINE_S)

        in_log = [(recorded.position, recorded.envelope.id) async for recorded in store.load(subjects.ALL_EVENTS)]
        assert sorted(writers.acknowledged) == in_log
        assert len(in_log) == 12 * 120
        await connection.close()
