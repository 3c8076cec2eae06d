"""A consumer handles in order per run, no more than its slots, and acknowledges each message as its error requires."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from syntor.contracts import subjects
from syntor.contracts.errors import (
    ContractError,
    NotFoundError,
    NotReachableError,
    RevisionConflictError,
    SupersededError,
)
from syntor.contracts.topology import DEAD_LETTERS, EVENTS, ConsumerSpec
from syntor.eventsourcing.dead_letters import DeadLettered
from syntor.eventsourcing.store import Recorded
from syntor.jetstream.admin import api, apply_topology, consumer_info, ensure_consumer, stream_state
from syntor.jetstream.connection import Message, connect
from syntor.jetstream.consumer import Consumer, Delivery
from syntor.jetstream.puller import parse_metadata
from syntor.jetstream.store import JetStreamStore
from syntor.testing.events import user_input
from syntor.testing.log import Log
from syntor.testing.nats_server import NatsServer

ON_BOTH = pytest.mark.parametrize("connection", ["real", "simulated"], indirect=True)

DEADLINE_S = 20.0
SPEC = ConsumerSpec(
    stream=EVENTS,
    name="test-runs",
    description="What the tests handle",
    filter_subjects=[subjects.category("run")],
    ack_wait_s=5.0,
    max_ack_pending=64,
)


class Handled:
    """Deliveries a handler received; counts finished ones."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self._more = asyncio.Event()

    @property
    def contents(self) -> list[str]:
        return [delivery.recorded.event.content for delivery in self.deliveries]  # type: ignore[attr-defined]

    def add(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        self._more.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while len(self.deliveries) < count:
                self._more.clear()
                await self._more.wait()

    async def until_id(self, message_id: str) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while message_id not in {delivery.recorded.envelope.id for delivery in self.deliveries}:
                self._more.clear()
                await self._more.wait()


Start = Callable[..., Awaitable[Consumer]]


@pytest.fixture
async def start(log: Log) -> AsyncIterator[Start]:
    """Start consumers that are stopped at the end of the test."""
    started: list[Consumer] = []

    async def begin(handle: Any, spec: ConsumerSpec = SPEC, max_concurrent: int = 8, **options: Any) -> Consumer:
        await ensure_consumer(log.connection, spec)
        consumer = Consumer(
            options.pop("connection", log.connection), spec, handle, max_concurrent=max_concurrent, **options
        )
        await consumer.start()
        started.append(consumer)
        return consumer

    yield begin
    for consumer in started:
        await consumer.stop(1.0)


async def settled(log: Any, spec: ConsumerSpec = SPEC) -> None:
    """Wait until the server has every acknowledgement."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            await log.connection.wait_connected(DEADLINE_S)
            with contextlib.suppress(NotReachableError):  # a server on its way back
                info = await consumer_info(log.connection, spec)
                if info.pending == info.ack_pending == 0:
                    return
            await asyncio.wait([log.connection.closed], timeout=0.02)


async def dead_letters(log: Any) -> list[Message]:
    letters: list[Message] = []
    for position in range(1, (await stream_state(log.connection, DEAD_LETTERS)).last + 1):
        letters.append(await log.connection.request(f"$JS.API.DIRECT.GET.{DEAD_LETTERS}", b'{"seq":%d}' % position))
    return letters


# handling


@ON_BOTH
async def test_every_message_is_handled_and_acknowledged(log: Log, start: Start) -> None:
    handled = Handled()

    async def handle(delivery: Delivery) -> None:
        handled.add(delivery)

    for number in range(20):
        await log.store.append(user_input(f"r{number}", str(number)), 0)
    await start(handle)
    await handled.until(20)
    await settled(log)

    assert sorted(handled.contents, key=int) == [str(number) for number in range(20)]
    assert {(delivery.attempt, delivery.last) for delivery in handled.deliveries} == {(1, False)}
    assert handled.deliveries[0].recorded == await log.store.get(1)


@ON_BOTH
async def test_messages_of_a_run_are_handled_in_order_concurrently_with_other_runs(log: Log, start: Start) -> None:
    handled, running, most = Handled(), 0, 0
    in_progress: set[str] = set()

    async def handle(delivery: Delivery) -> None:
        nonlocal running, most
        run = delivery.recorded.envelope.runid
        assert run not in in_progress, "two messages of one run concurrently"
        in_progress.add(run)
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001 * (hash(delivery.recorded.position) % 4))
        running -= 1
        in_progress.discard(run)
        handled.add(delivery)

    for number in range(200):
        new = msgspec.structs.replace(user_input(f"r{number % 5}", str(number)))
        await log.store.append(new, None)
    await start(handle, max_concurrent=32)
    await handled.until(200)

    for run in range(5):
        of_run = [int(content) for content in handled.contents if int(content) % 5 == run]
        assert of_run == sorted(of_run)
    assert most == 5


@ON_BOTH
async def test_no_more_is_fetched_than_there_are_free_slots(log: Log, start: Start) -> None:
    handled, release = Handled(), asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        handled.add(delivery)
        await release.wait()

    for number in range(30):
        await log.store.append(user_input(f"r{number}"), 0)
    consumer = await start(handle, max_concurrent=4)
    await handled.until(4)
    await log.connection.flush()

    info = await consumer_info(log.connection, SPEC)
    assert (consumer.busy, info.ack_pending, info.pending) == (4, 4, 26)
    release.set()
    await handled.until(30)


@pytest.mark.parametrize("slots", [1, 4, 10])
@ON_BOTH
async def test_a_free_slot_is_filled_while_the_others_stay_busy(log: Log, start: Start, slots: int) -> None:
    handled, release = Handled(), asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        handled.add(delivery)
        if delivery.recorded.event.content == "long":  # type: ignore[attr-defined]
            await release.wait()

    await start(handle, max_concurrent=slots)
    for number in range(slots - 1):
        await log.store.append(user_input(f"long{number}", "long"), 0)
    for number in range(20):
        await log.store.append(user_input(f"short{number}", "short"), 0)

    await handled.until(slots - 1 + 20)
    release.set()


async def test_slots_stay_filled_when_requests_expire_while_idle(
    log: Log, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syntor.jetstream.puller._EXPIRES_S", 0.2)
    monkeypatch.setattr("syntor.jetstream.puller.HEARTBEAT_S", 0.05)
    handled, release, ended = Handled(), asyncio.Event(), asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        handled.add(delivery)
        await release.wait()

    consumer = await start(handle, max_concurrent=4)
    again = consumer._puller._on_ended

    def on_ended() -> None:
        again()
        ended.set()

    consumer._puller._on_ended = on_ended
    for number in range(4):
        ended.clear()
        await asyncio.wait_for(ended.wait(), DEADLINE_S)  # a request ended unused between any two messages
        await log.store.append(user_input(f"r{number}"), 0)
        await handled.until(number + 1)
    release.set()


async def test_the_middleware_wraps_the_handler(log: Log, start: Start) -> None:
    handled, inside = Handled(), []

    @contextlib.contextmanager
    def middleware(recorded: Recorded) -> Generator[None, None, None]:
        inside.append(recorded.position)
        yield
        inside.clear()

    async def handle(delivery: Delivery) -> None:
        assert inside == [delivery.recorded.position]
        handled.add(delivery)

    await start(handle, middleware=middleware)
    await log.store.append(user_input("r1"), 0)
    await handled.until(1)


async def test_data_stored_as_a_blob_reaches_the_handler(log: Log, start: Start) -> None:
    handled = Handled()

    async def handle(delivery: Delivery) -> None:
        handled.add(delivery)

    await start(handle)
    await log.store.append(user_input("r1", "x" * 300_000), 0)
    await handled.until(1)

    assert len(handled.contents[0]) == 300_000


# outcomes


@ON_BOTH
async def test_a_rejection_is_acknowledged(log: Log, start: Start) -> None:
    handled = Handled()

    async def handle(delivery: Delivery) -> None:
        handled.add(delivery)
        raise NotFoundError("no such thing")

    await start(handle)
    await log.store.append(user_input("r1"), 0)
    await handled.until(1)
    await settled(log)

    assert len(handled.deliveries) == 1
    assert await dead_letters(log) == []


@ON_BOTH
async def test_an_infrastructure_error_is_retried_later(log: Log, start: Start) -> None:
    handled = Handled()

    async def handle(delivery: Delivery) -> None:
        handled.add(delivery)
        if delivery.attempt < 3:
            raise NotReachableError("not now")

    await start(handle)
    await log.store.append(user_input("r1"), 0)
    await handled.until(3)
    await settled(log)

    assert [delivery.attempt for delivery in handled.deliveries] == [1, 2, 3]
    times = [delivery.recorded_at_ns for delivery in handled.deliveries]
    assert len(set(times)) == 1


async def test_a_conflict_that_reaches_the_consumer_is_redelivered_with_back_off(log: Log, start: Start) -> None:
    handled, at = Handled(), list[float]()

    async def handle(delivery: Delivery) -> None:
        at.append(asyncio.get_running_loop().time())
        handled.add(delivery)
        if delivery.attempt < 3:
            raise RevisionConflictError("syntor.events.run.r1.>", 1, 2)

    await start(handle)
    await log.store.append(user_input("r1"), 0)
    await handled.until(3)
    await settled(log)

    assert [delivery.attempt for delivery in handled.deliveries] == [1, 2, 3]
    assert at[1] - at[0] >= 0.1  # half of the first delay
    assert await dead_letters(log) == []


@ON_BOTH
async def test_an_unreadable_message_is_dead_lettered_immediately(log: Log, start: Start) -> None:
    handled = Handled()

    async def handle(delivery: Delivery) -> None:
        handled.add(delivery)

    await log.connection.request("syntor.events.run.r1.user_input", b"not an envelope")
    await log.store.append(user_input("r2"), 0)
    await start(handle)
    await handled.until(1)
    await settled(log)

    [letter] = await dead_letters(log)
    assert letter.payload == b"not an envelope"
    assert letter.headers is not None
    assert letter.headers["Nats-Subject"] == "syntor.dlq.syntor_events.test-runs"
    assert letter.headers["Syntor-Subject"] == "syntor.events.run.r1.user_input"
    assert letter.headers["Syntor-Position"] == "1"
    assert "not an envelope" in letter.headers["Syntor-Cause"]


async def test_a_contract_error_of_a_handler_dead_letters_the_message(log: Log, start: Start) -> None:
    async def handle(_: Delivery) -> None:
        raise ContractError("a plan of an unknown kind\r\nSyntor-Cause: forged")

    await start(handle)
    await log.store.append(user_input("r1"), 0)
    await settled(log)

    [letter] = await dead_letters(log)
    assert (letter.headers or {})["Syntor-Cause"].startswith("a plan of an unknown kind")


@ON_BOTH
async def test_the_last_delivery_that_fails_is_dead_lettered(log: Log, start: Start) -> None:
    spec = msgspec.structs.replace(SPEC, max_deliver=2)
    handled = Handled()

    async def handle(delivery: Delivery) -> None:
        handled.add(delivery)
        raise NotReachableError("never")

    await start(handle, spec)
    await log.store.append(user_input("r1"), 0)
    await handled.until(2)
    await settled(log, spec)

    assert [(delivery.attempt, delivery.last) for delivery in handled.deliveries] == [(1, False), (2, True)]
    [letter] = await dead_letters(log)
    assert "2 deliveries failed; the last: never" in (letter.headers or {})["Syntor-Cause"]


@ON_BOTH
async def test_a_message_whose_processes_died_is_dead_lettered_unhandled(log: Log, start: Start) -> None:
    spec = msgspec.structs.replace(SPEC, max_deliver=2, ack_wait_s=1.0)
    await ensure_consumer(log.connection, spec)
    await log.store.append(user_input("r1"), 0)
    for _ in range(2):  # two processes that died: fetched, never answered
        inbox: asyncio.Queue[Message] = asyncio.Queue()
        reply = log.connection.new_inbox()
        await log.connection.subscribe_direct(reply, inbox.put_nowait)
        await log.connection.publish(f"$JS.API.CONSUMER.MSG.NEXT.{EVENTS}.{spec.name}", b'{"batch":1}', reply)
        await asyncio.wait_for(inbox.get(), DEADLINE_S)
    handled = Handled()

    async def handle(delivery: Delivery) -> None:
        handled.add(delivery)

    await start(handle, spec)
    await settled(log, spec)

    assert handled.deliveries == []
    [letter] = await dead_letters(log)
    assert "none of 2 deliveries was acknowledged" in (letter.headers or {})["Syntor-Cause"]


async def test_a_message_is_requeued_while_it_cannot_be_dead_lettered(log: Log, start: Start) -> None:
    spec = msgspec.structs.replace(SPEC, max_deliver=1)
    await api(log.connection, f"STREAM.DELETE.{DEAD_LETTERS}")
    handled = Handled()

    async def handle(delivery: Delivery) -> None:
        handled.add(delivery)
        raise NotReachableError("never")

    with pytest.MonkeyPatch.context() as short:
        short.setattr("syntor.jetstream.appender.RETRY_S", 0.05)
        await start(handle, spec)
        await log.store.append(user_input("r1"), 0)
        await handled.until(1)
        while (await consumer_info(log.connection, spec)).redelivered == 0:
            pass

    await apply_topology(log.connection)
    await settled(log, spec)

    assert len(await dead_letters(log)) == 1


async def test_what_a_message_makes_its_handler_raise_concerns_this_message_only(
    log: Log, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    handled, raised = Handled(), Handled()

    async def handle(delivery: Delivery) -> None:
        if delivery.recorded.event.content == "poison":  # type: ignore[attr-defined]
            raised.add(delivery)
            raise ZeroDivisionError("a defect")
        handled.add(delivery)

    consumer = await start(handle, max_concurrent=1)
    await log.store.append(user_input("r1", "poison"), 0)
    for number in range(5):
        await log.store.append(user_input(f"other{number}"), 0)
    await handled.until(5)
    await settled(log)

    assert [delivery.attempt for delivery in raised.deliveries] == [1, 2, 3]
    assert not consumer.failed.done()
    [letter] = await dead_letters(log)
    assert (letter.headers or {})["Syntor-Cause"] == "ZeroDivisionError: a defect"
    assert 'raise ZeroDivisionError("a defect")' in caplog.text  # the traceback
    await log.store.append(user_input("r2"), 0)
    await handled.until(6)


async def test_a_defect_that_does_not_repeat_costs_a_retry_only(log: Log, start: Start) -> None:
    handled = Handled()

    async def handle(delivery: Delivery) -> None:
        handled.add(delivery)
        if delivery.attempt == 1:
            raise KeyError("a circumstance")

    await start(handle)
    await log.store.append(user_input("r1"), 0)
    await handled.until(2)
    await settled(log)

    assert await dead_letters(log) == []


@pytest.mark.parametrize("error", [ContractError("its first event is unreadable"), RuntimeError("a defect")])
async def test_a_dead_letter_that_cannot_be_recorded_in_its_run_is_terminated(
    log: Log, start: Start, error: Exception
) -> None:
    handled = Handled()

    async def handle(delivery: Delivery) -> None:
        if delivery.recorded.envelope.runid == "r1":
            raise ContractError("unreadable")
        handled.add(delivery)

    async def record(_: DeadLettered) -> None:
        raise error

    consumer = await start(handle, on_dead_lettered=record)
    await log.store.append(user_input("r1"), 0)
    await log.store.append(user_input("r2"), 0)
    await handled.until(1)
    await settled(log)

    assert len(await dead_letters(log)) == 1
    assert not consumer.failed.done()


async def test_a_subject_of_no_aggregate_is_dead_lettered(log: Log, start: Start) -> None:
    handled = Handled()

    async def handle(delivery: Delivery) -> None:
        handled.add(delivery)

    await start(handle, msgspec.structs.replace(SPEC, filter_subjects=[subjects.ALL_EVENTS]))
    await log.connection.request("syntor.events.x", b"nonsense")
    await log.store.append(user_input("r1"), 0)
    await handled.until(1)
    await settled(log)

    assert len(await dead_letters(log)) == 1


# long work, stopping, restarts


@ON_BOTH
async def test_a_handler_longer_than_ack_wait_keeps_its_message(log: Log, start: Start) -> None:
    spec = msgspec.structs.replace(SPEC, ack_wait_s=0.3)
    handled, release = Handled(), asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        handled.add(delivery)
        await release.wait()

    await start(handle, spec)
    await start(handle, spec)
    await log.store.append(user_input("r1"), 0)
    await handled.until(1)
    renewals: asyncio.Queue[bytes] = asyncio.Queue()
    await log.connection.subscribe_direct(
        f"$JS.ACK.{EVENTS}.{spec.name}.>", lambda message: renewals.put_nowait(message.payload)
    )
    for _ in range(9):  # three times ack_wait
        assert await asyncio.wait_for(renewals.get(), DEADLINE_S) == b"+WPI"
    assert len(handled.deliveries) == 1
    release.set()
    await settled(log, spec)
    assert len(handled.deliveries) == 1


@pytest.mark.parametrize("ordered", [True, False])
@ON_BOTH
async def test_a_delivery_of_what_is_in_progress_starts_nothing_and_is_the_one_acknowledged(
    log: Log, start: Start, ordered: bool
) -> None:
    handled, release = Handled(), asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        handled.add(delivery)
        await release.wait()

    acks: asyncio.Queue[Message] = asyncio.Queue()
    consumer = await start(handle, ordered=ordered)
    await log.store.append(user_input("r1"), 0)
    await handled.until(1)
    await log.connection.subscribe_direct(f"$JS.ACK.{EVENTS}.{SPEC.name}.>", acks.put_nowait)
    for delivered in (1, 2):  # as after a stall longer than the lease
        held = next(iter(consumer._held.values()))
        await log.connection.publish(held.message.reply, b"-NAK")
        async with asyncio.timeout(DEADLINE_S):
            while parse_metadata(held.message.reply).delivered == delivered:
                assert parse_metadata((await acks.get()).subject).position == 1
    assert (consumer.busy, len(handled.deliveries)) == (1, 1)
    release.set()
    async with asyncio.timeout(DEADLINE_S):
        while (ack := await acks.get()).payload != b"+ACK":
            pass
    assert parse_metadata(ack.subject).delivered == 3
    await settled(log)
    assert (consumer.busy, len(handled.deliveries)) == (0, 1)


@ON_BOTH
async def test_a_superseded_handler_leaves_its_message_to_the_other_attempt(log: Log, start: Start) -> None:
    spec = msgspec.structs.replace(SPEC, ack_wait_s=1.0)
    handled = Handled()

    async def handle(delivery: Delivery) -> None:
        handled.add(delivery)
        if len(handled.deliveries) == 1:
            raise SupersededError("another attempt owns the task")

    acks: list[bytes] = []
    await log.connection.subscribe_direct(
        f"$JS.ACK.{EVENTS}.{spec.name}.>", lambda message: acks.append(message.payload)
    )
    await start(handle, spec)
    await log.store.append(user_input("r1"), 0)
    await handled.until(2)  # after the lease
    await settled(log, spec)
    assert [ack for ack in acks if ack != b"+WPI"] == [b"+ACK"]  # a renewal may fall into the second attempt


async def test_no_work_is_taken_while_the_process_takes_none(log: Log, start: Start) -> None:
    spec = msgspec.structs.replace(SPEC, ack_wait_s=0.3)
    handled, accepts = Handled(), asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        handled.add(delivery)

    consumer = await start(handle, spec, takes_work=accepts.is_set)
    await log.store.append(user_input("r1"), 0)
    for _ in range(3):
        consumer._top_up()
    await log.connection.flush()
    assert (await consumer_info(log.connection, spec)).pending == 1
    accepts.set()
    await handled.until(1)
    await settled(log, spec)


@ON_BOTH
async def test_stopping_finishes_running_handlers_and_requeues_the_rest(log: Log, start: Start) -> None:
    started, release, first, second = Handled(), asyncio.Event(), Handled(), Handled()

    async def handle(delivery: Delivery) -> None:
        started.add(delivery)
        await release.wait()
        first.add(delivery)

    async def other(delivery: Delivery) -> None:
        second.add(delivery)

    for number in range(6):  # of two runs: two are started, four wait for their turn
        await log.store.append(user_input(f"r{number % 2}", str(number)), None)
    consumer = await start(handle, max_concurrent=6)
    await started.until(2)

    stopping = asyncio.create_task(consumer.stop())
    await start(other)
    await second.until(4)  # immediately, long before their ack_wait
    release.set()
    await asyncio.wait_for(stopping, DEADLINE_S)
    await settled(log)

    assert sorted(first.contents) == ["0", "1"]
    assert sorted(second.contents) == ["2", "3", "4", "5"]
    assert consumer.busy == 0


@ON_BOTH
async def test_a_handler_that_does_not_end_in_time_is_cancelled_and_its_message_requeued(
    log: Log, start: Start
) -> None:
    started, handled = Handled(), Handled()

    async def stuck(delivery: Delivery) -> None:
        started.add(delivery)
        await asyncio.Event().wait()

    async def handle(delivery: Delivery) -> None:
        handled.add(delivery)

    await log.store.append(user_input("r1"), 0)
    consumer = await start(stuck)
    await started.until(1)
    await consumer.stop(timeout_s=0.05)
    await start(handle)

    await asyncio.wait_for(handled.until(1), 2)
    assert handled.deliveries[0].attempt == 2


@pytest.mark.parametrize("blow", ["restart", "break the connection"])
async def test_delivery_resumes_immediately_after(log: Log, start: Start, blow: str) -> None:
    handled = Handled()

    async def handle(delivery: Delivery) -> None:
        handled.add(delivery)

    spec = msgspec.structs.replace(SPEC, ack_wait_s=1.0)  # acknowledgements a killed server forgot come again after it
    consumer = await start(handle, spec)
    await log.store.append(user_input("r0"), 0)
    await handled.until(1)
    back = asyncio.Event()
    log.connection.on_reconnect(back.set)

    for number in range(1, 4):
        await settled(log, spec)
        back.clear()
        if blow == "restart":
            log.server.restart()
        else:
            await log.connection.reconnect()
        await asyncio.wait_for(back.wait(), DEADLINE_S)
        new = user_input(f"r{number}")
        await log.store.append(new, 0)
        await asyncio.wait_for(handled.until_id(new.message_id), 0.8)

    assert consumer._puller.outstanding <= 8
    await settled(log, spec)


async def test_everything_is_handled_through_kills_under_load(log: Log, start: Start) -> None:
    handled: dict[int, int] = {}
    enough = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        await asyncio.sleep(0)
        handled[delivery.recorded.position] = handled.get(delivery.recorded.position, 0) + 1
        enough.set()

    spec = msgspec.structs.replace(SPEC, ack_wait_s=1.0)
    await start(handle, spec, max_concurrent=32)
    await start(handle, spec, max_concurrent=32)

    async def write(number: int) -> None:
        for version in range(50):
            await log.store.append(user_input(f"r{number}", str(version)), None)

    writing = asyncio.gather(*(write(number) for number in range(20)))
    for count in (100, 400, 700):
        while len(handled) < count:
            enough.clear()
            await asyncio.wait_for(enough.wait(), DEADLINE_S)
        log.server.restart()
    await writing
    await settled(log, spec)

    assert sorted(handled) == list(range(1, 1001))


@ON_BOTH
async def test_a_consumer_created_later_is_found(log: Log, start: Start) -> None:
    handled = Handled()

    async def handle(delivery: Delivery) -> None:
        handled.add(delivery)

    consumer = Consumer(log.connection, SPEC, handle, max_concurrent=4)
    await consumer.start()
    await log.store.append(user_input("r1"), 0)
    await ensure_consumer(log.connection, SPEC)

    await handled.until(1)
    await api(log.connection, f"CONSUMER.DELETE.{EVENTS}.{SPEC.name}")
    await log.store.append(user_input("r2"), 0)
    await ensure_consumer(log.connection, SPEC)
    await handled.until(3)  # a new durable begins at the beginning
    await consumer.stop()


async def test_both_versions_of_ack_subjects_work(tmp_path: Path) -> None:
    with NatsServer(tmp_path, extra="feature_flags { js_ack_fc_v2: true }") as server:
        connection = await connect(server.url, "syntor/test")
        await apply_topology(connection)
        await ensure_consumer(connection, SPEC)
        acknowledged: asyncio.Queue[str] = asyncio.Queue()
        await connection.subscribe_direct("$JS.ACK.>", lambda message: acknowledged.put_nowait(message.subject))
        handled = Handled()

        async def handle(delivery: Delivery) -> None:
            handled.add(delivery)

        consumer = Consumer(connection, SPEC, handle, max_concurrent=4)
        await consumer.start()
        await JetStreamStore(connection).append(user_input("r1"), 0)
        await handled.until(1)

        assert len((await asyncio.wait_for(acknowledged.get(), DEADLINE_S)).split(".")) > 9
        assert (handled.deliveries[0].recorded.position, handled.deliveries[0].attempt) == (1, 1)
        await consumer.stop()
        await connection.close()


async def test_two_processes_share_a_queue(log: Log, start: Start) -> None:
    other = await connect(log.server.url, "syntor/other")
    mine, theirs, both = Handled(), Handled(), Handled()

    def into(own: Handled) -> Callable[[Delivery], Awaitable[None]]:
        async def handle(delivery: Delivery) -> None:
            own.add(delivery)
            both.add(delivery)

        return handle

    await start(into(mine), max_concurrent=4)
    await start(into(theirs), max_concurrent=4, connection=other)
    await asyncio.gather(*(log.store.append(user_input(f"r{number}"), 0) for number in range(200)))
    await both.until(200)
    await settled(log)

    assert len(both.deliveries) == 200
    assert mine.deliveries
    assert theirs.deliveries
    await other.close()
