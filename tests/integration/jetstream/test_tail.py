"""A tail yields every message once, in order, across restarts, disconnects and lost consumers."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from syntor.contracts import subjects
from syntor.contracts.errors import LogBehindError, NotReachableError
from syntor.contracts.topology import EVENTS
from syntor.eventsourcing.store import RawEvent
from syntor.jetstream.admin import api, apply_topology
from syntor.jetstream.client import HardenedClient, Message
from syntor.jetstream.connection import Connection, connect
from syntor.jetstream.store import JetStreamStore
from syntor.jetstream.tail import Tail
from syntor.testing.events import stream_delta, user_input
from syntor.testing.log import Log
from syntor.testing.nats_server import NatsServer

ON_BOTH = pytest.mark.parametrize("connection", ["real", "simulated"], indirect=True)

DEADLINE_S = 20.0


class Reader:
    """Reads a tail in the background."""

    def __init__(self, tail: Tail) -> None:
        self.tail = tail
        self.read: list[RawEvent] = []
        self._more = asyncio.Event()
        self.task = asyncio.create_task(self._run())

    @property
    def positions(self) -> list[int]:
        return [message.position for message in self.read]

    async def until(self, count: int) -> list[int]:
        """Wait until a number of messages were read; return all positions."""
        async with asyncio.timeout(DEADLINE_S):
            while len(self.read) < count:
                self._more.clear()
                await self._more.wait()
        return self.positions

    async def close(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.tail.close()

    async def _run(self) -> None:
        async for batch in self.tail.batches():
            self.read += batch
            self._more.set()


@pytest.fixture
async def reader(log: Log) -> AsyncIterator[Reader]:
    opened = Reader(Tail(log.connection, [subjects.ALL_EVENTS], after=0))
    yield opened
    await opened.close()


async def fill(store: JetStreamStore, count: int, run_id: str = "r1") -> None:
    await asyncio.gather(*(store.append(stream_delta(run_id, index=number), None) for number in range(count)))


async def tails_on(connection: Connection) -> list[str]:
    names = (await api(connection, f"CONSUMER.NAMES.{EVENTS}"))["consumers"] or []
    return [name for name in names if name.startswith("tail-")]


@ON_BOTH
async def test_the_backlog_is_yielded_first_then_live_messages(log: Log) -> None:
    await fill(log.store, 2500)
    reader = Reader(Tail(log.connection, [subjects.ALL_EVENTS], after=0, max_batch=100))

    assert await reader.until(2500) == list(range(1, 2501))
    await fill(log.store, 500)

    assert await reader.until(3000) == list(range(1, 3001))
    await reader.close()


@ON_BOTH
async def test_a_message_has_every_stored_field(log: Log, reader: Reader) -> None:
    new = user_input("r1")
    await log.store.append(new, 0)
    await reader.until(1)

    [message] = reader.read
    recorded = await log.store.recorded.read(message)
    assert recorded == await log.store.get(1)
    assert message.recorded_at_ns > 1_700_000_000_000_000_000


@ON_BOTH
async def test_reading_starts_after_a_position_and_applies_the_filter(log: Log) -> None:
    for number in range(4):
        await log.store.append(user_input(f"r{number}"), 0)
        await log.store.append(stream_delta("r1", index=number), None)
    reader = Reader(Tail(log.connection, [subjects.category("run"), subjects.category("agent")], after=3))

    assert await reader.until(2) == [5, 7]
    assert reader.tail.caught_up
    await reader.close()


@ON_BOTH
async def test_an_empty_log_is_caught_up_with(log: Log) -> None:
    tail = Tail(log.connection, [subjects.ALL_EVENTS], after=0)
    await tail.ready()

    assert tail.caught_up
    assert (tail.position, tail.safe_position) == (0, 0)
    await tail.close()


@ON_BOTH
async def test_a_caught_up_tail_reports_the_end_of_the_log_whatever_its_filter(log: Log) -> None:
    await fill(log.store, 5)
    tail = Tail(log.connection, [subjects.category("agent")], after=0)
    await tail.ready()

    assert tail.caught_up
    assert (tail.position, tail.safe_position) == (0, 5)
    await tail.close()


@ON_BOTH
async def test_a_tail_with_a_backlog_is_not_caught_up(log: Log) -> None:
    await fill(log.store, 10)
    tail = Tail(log.connection, [subjects.ALL_EVENTS], after=0, max_batch=4)
    batches = tail.batches()

    first = await asyncio.wait_for(anext(batches), DEADLINE_S)

    assert [message.position for message in first] == list(range(1, len(first) + 1))
    assert not tail.caught_up or len(first) == 10
    await batches.aclose()
    await tail.close()


async def test_a_log_that_ends_before_what_was_read_is_refused(log: Log) -> None:
    await fill(log.store, 3)
    tail = Tail(log.connection, [subjects.ALL_EVENTS], after=4)

    with pytest.raises(LogBehindError, match="ends at position 3, but 4"):
        await tail.ready()
    await tail.close()


async def test_an_idle_tail_gets_messages_appended_after_its_requests_expired(
    log: Log,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("syntor.jetstream.puller._EXPIRES_S", 0.2)
    monkeypatch.setattr("syntor.jetstream.puller.HEARTBEAT_S", 0.05)
    tail = Tail(log.connection, [subjects.ALL_EVENTS], after=0)
    await tail.ready()
    ended = asyncio.Event()
    puller = tail._puller
    assert puller is not None
    woken = puller._on_ended

    def on_ended() -> None:
        woken()
        ended.set()

    puller._on_ended = on_ended
    reader = Reader(tail)
    await asyncio.wait_for(ended.wait(), DEADLINE_S)

    await fill(log.store, 1)

    assert await reader.until(1) == [1]
    await reader.close()


@pytest.mark.parametrize("attempt", range(3))
async def test_nothing_is_lost_or_repeated_when_the_server_is_killed_under_load(
    log: Log,
    reader: Reader,
    attempt: int,
) -> None:
    writing = asyncio.gather(*(fill(log.store, 300, f"r{writer}") for writer in range(8)))
    await reader.until(100 * (attempt + 1))

    log.server.restart()

    await writing
    assert await reader.until(2400) == list(range(1, 2401))


async def test_nothing_is_lost_when_only_the_connection_breaks(log: Log, reader: Reader) -> None:
    other = await connect(log.server.url, "syntor/other")
    store = JetStreamStore(other)
    await fill(store, 10)
    await reader.until(10)

    for number in range(5):
        await asyncio.gather(log.connection.reconnect(), fill(store, 100, f"r{number}"))

    assert await reader.until(510) == list(range(1, 511))
    await other.close()


async def test_a_message_lost_in_a_disconnect_is_read_without_waiting_for_the_next(
    log: Log,
    reader: Reader,
) -> None:
    other = await connect(log.server.url, "syntor/other")
    await fill(JetStreamStore(other), 10)
    await reader.until(10)
    # the socket goes with whatever the server has written to it: only a new consumer brings that
    cast("HardenedClient", log.connection._client).abort()
    await fill(JetStreamStore(other), 1)

    assert await reader.until(11) == list(range(1, 12))
    await other.close()


async def test_a_deleted_consumer_is_replaced(log: Log, reader: Reader) -> None:
    await fill(log.store, 10)
    await reader.until(10)
    [name] = await tails_on(log.connection)

    await api(log.connection, f"CONSUMER.DELETE.{EVENTS}.{name}")
    await fill(log.store, 10)

    assert await reader.until(20) == list(range(1, 21))


async def test_a_missing_delivery_is_detected_and_read_again(log: Log) -> None:
    tail = Tail(log.connection, [subjects.ALL_EVENTS], after=0)
    await tail.ready()
    puller = tail._puller
    assert puller is not None
    deliver = puller._on_message
    dropped: list[Message] = []

    def lossy(message: Message) -> None:
        if len(dropped) == 0 and ".3." in message.reply:
            dropped.append(message)
        else:
            deliver(message)

    puller._on_message = lossy
    reader = Reader(tail)
    await fill(log.store, 10)

    assert await reader.until(10) == list(range(1, 11))
    assert len(dropped) == 1
    await reader.close()


async def test_a_silent_server_is_detected_by_its_missing_heartbeats(
    log: Log,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("syntor.jetstream.puller.HEARTBEAT_S", 0.1)
    monkeypatch.setattr("syntor.jetstream.puller.SILENCE_S", 0.25)
    reader = Reader(Tail(log.connection, [subjects.ALL_EVENTS], after=0))
    await reader.tail.ready()
    lost = asyncio.Event()
    puller = reader.tail._puller
    assert puller is not None
    notify = puller._on_lost

    def on_lost() -> None:
        notify()
        lost.set()

    puller._on_lost = on_lost

    log.server.send(signal.SIGSTOP)
    await asyncio.wait_for(lost.wait(), DEADLINE_S)
    log.server.send(signal.SIGCONT)
    await fill(log.store, 5)

    assert await reader.until(5) == list(range(1, 6))
    await reader.close()


async def test_a_log_that_comes_back_shorter_is_refused(nats_server: NatsServer, connection: Connection) -> None:
    await apply_topology(connection)
    store = JetStreamStore(connection)
    reader = Reader(Tail(connection, [subjects.ALL_EVENTS], after=0))
    await fill(store, 10)
    await reader.until(10)

    back = asyncio.Event()
    connection.on_reconnect(back.set)
    nats_server.kill()
    nats_server.erase()
    nats_server.start()
    await asyncio.wait_for(back.wait(), DEADLINE_S)
    await apply_topology(connection)

    with pytest.raises(LogBehindError):
        await asyncio.wait_for(reader.task, DEADLINE_S)
    await reader.close()


async def test_a_closed_tail_leaves_no_consumer(log: Log) -> None:
    reader = Reader(Tail(log.connection, [subjects.ALL_EVENTS], after=0))
    await fill(log.store, 1)
    await reader.until(1)

    await reader.close()

    assert await tails_on(log.connection) == []


async def test_a_tail_of_a_closed_connection_ends(log: Log) -> None:
    other = await connect(log.server.url, "syntor/other")
    reader = Reader(Tail(other, [subjects.ALL_EVENTS], after=0))
    await fill(log.store, 1)
    await reader.until(1)

    await other.close()

    with pytest.raises(NotReachableError, match="closed"):
        await asyncio.wait_for(reader.task, DEADLINE_S)
    await reader.close()


async def test_both_versions_of_ack_subjects_are_parsed(tmp_path: Path) -> None:
    with NatsServer(tmp_path, extra="feature_flags { js_ack_fc_v2: true }") as server:
        connection = await connect(server.url, "syntor/test")
        await apply_topology(connection)
        store = JetStreamStore(connection)
        reader = Reader(Tail(connection, [subjects.ALL_EVENTS], after=0))

        await fill(store, 20)

        assert await reader.until(20) == list(range(1, 21))
        await reader.close()
        await connection.close()
