"""A sweep takes over the tasks of instances that are gone or silent for long, and only those."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from syntor.agentkit.worker import takeover as takeovers
from syntor.agentkit.worker.takeover import Takeover
from syntor.contracts import subjects
from syntor.contracts.envelope import Lineage
from syntor.contracts.events import Event
from syntor.contracts.ids import new_id
from syntor.contracts.run.v1 import TaskAssigned
from syntor.contracts.task.v1 import AgentInvokeDone, AgentInvokePaused, AgentInvokeStarted
from syntor.contracts.topology import task_queue_consumer
from syntor.eventsourcing.store import NewEvent
from syntor.jetstream.admin import consumer_info, ensure_consumer
from syntor.jetstream.connection import Message
from syntor.jetstream.consumer import Consumer, Delivery
from syntor.jetstream.instances import Instances
from syntor.testing.log import Log
from syntor.testing.tasks import AT, put

DEADLINE_S = 20.0
QUEUE = "worker"
SPEC = task_queue_consumer(QUEUE)


class Scene:
    """A queue whose deliveries are held by a consumer no instance answers for, and one instance that sweeps."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.delivered: asyncio.Queue[int] = asyncio.Queue()
        self.requeued: list[int] = []
        self.held: set[int] = set()
        self.instances = Instances(log.connection, QUEUE, "own", lambda: frozenset(self.held))
        self.adopting: Consumer | None = None
        self.takeover = Takeover(log.connection, SPEC, QUEUE, log.store, self.instances, self._adopt)
        self.holder = Consumer(log.connection, SPEC, self._hold, max_concurrent=16, ordered=False)

    async def start(self) -> None:
        await ensure_consumer(self.log.connection, SPEC)
        await self.log.connection.subscribe_direct(f"$JS.ACK.{SPEC.stream}.{SPEC.name}.>", self._on_ack)
        await self.instances.start()
        await self.holder.start()

    async def stop(self) -> None:
        await self.holder.stop(0.1)
        await self.instances.stop()

    async def assigned(self, run_id: str, *events: Event, attempt: int = 1, resume: int = 0) -> int:
        """Assign a task, have it delivered, append events of it, and return the position of the assignment."""
        event = TaskAssigned(task_id="t1", agent=QUEUE, queue=QUEUE, attempt=attempt, resume=resume)
        position = await put(self.log.store, run_id, event, revision=None)
        for version, of_task in enumerate(events, 1):
            new = NewEvent(
                aggregate_id=f"{run_id}.t1",
                event=of_task,
                message_id=new_id(),
                source="test",
                time=AT,
                version=version,
                lineage=Lineage(run_id=run_id, first_position=1),
            )
            await self.log.store.append(new, None)
        async with asyncio.timeout(DEADLINE_S):
            assert await self.delivered.get() == position
        return position

    async def sweep(self) -> list[int]:
        """Sweep twice, and return the positions that were requeued."""
        for _ in range(2):
            await self.takeover.sweep()
            await self.log.connection.flush()
        found, self.requeued = self.requeued, []
        return found

    async def _adopt(self, position: int, sequence: int) -> bool:
        return self.adopting is not None and await self.adopting.adopt(position, sequence)

    async def _hold(self, delivery: Delivery) -> None:
        self.delivered.put_nowait(delivery.recorded.position)
        await asyncio.Event().wait()

    def _on_ack(self, message: Message) -> None:
        if message.payload == b"-NAK":
            self.requeued.append(int(message.subject.split(".")[5]))


@pytest.fixture
async def scene(log: Log, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setattr(takeovers, "CONFIRM_S", 0.0)
    monkeypatch.setattr(takeovers, "AGAIN_S", 60.0)
    scene = Scene(log)
    await scene.start()
    yield scene
    await scene.stop()


def _started(instance: str, attempt: int = 1) -> AgentInvokeStarted:
    return AgentInvokeStarted(agent=QUEUE, instance=instance, attempt=attempt)


async def test_the_task_of_an_instance_that_is_gone_is_requeued_once_until_its_pause_is_over(scene: Scene) -> None:
    position = await scene.assigned("r1", _started("gone"))
    assert await scene.sweep() == [position]
    assert await scene.sweep() == []


async def test_a_task_whose_instance_does_not_hold_it_any_more_is_requeued_after_a_while(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    position = await scene.assigned("r1", _started("own"))
    assert await scene.sweep() == []
    monkeypatch.setattr(takeovers, "LOST_S", 0.0)
    scene.takeover._suspects.clear()
    assert await scene.sweep() == [position]


async def test_a_delivered_task_that_no_instance_began_or_holds_is_requeued(scene: Scene) -> None:
    position = await scene.assigned("r1")
    resumed = await scene.assigned("r2", _started("gone"), AgentInvokePaused(waits=[]), resume=1)
    assert sorted(await scene.sweep()) == [position, resumed]


async def test_tasks_are_left_to_instances_that_hold_them_or_are_connected(scene: Scene) -> None:
    held = await scene.assigned("r1", _started("own"))
    scene.held.add(held)
    await scene.assigned("r2", _started("own"))  # it failed there and waits for its redelivery
    stalled = await scene.log.connection.subscribe_direct(subjects.instances(QUEUE, "stalled"), lambda message: None)
    await scene.assigned("r3", _started("stalled"))
    assert await scene.sweep() == []
    await stalled.unsubscribe()
    assert len(await scene.sweep()) == 1


async def test_a_silent_instance_keeps_its_tasks_for_a_while(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    stalled = await scene.log.connection.subscribe_direct(subjects.instances(QUEUE, "stalled"), lambda message: None)
    position = await scene.assigned("r1", _started("stalled"))
    assert await scene.sweep() == []
    monkeypatch.setattr(takeovers, "SILENT_S", 0.0)
    monkeypatch.setattr(takeovers, "ASK_AGAIN_S", 0.1)
    scene.takeover._suspects.clear()
    assert await scene.sweep() == [position]
    await stalled.unsubscribe()


async def test_an_instance_that_dies_while_it_is_silent_loses_its_tasks_at_once(scene: Scene) -> None:
    stalled = await scene.log.connection.subscribe_direct(subjects.instances(QUEUE, "stalled"), lambda message: None)
    position = await scene.assigned("r1", _started("stalled"))
    assert await scene.sweep() == []
    await stalled.unsubscribe()
    assert await scene.sweep() == [position]


async def test_a_task_whose_redelivery_no_instance_holds_is_adopted(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(takeovers, "AGAIN_S", 1e-9)  # over at the next sweep, however quick the server is
    handled: asyncio.Queue[Delivery] = asyncio.Queue()

    async def handle(delivery: Delivery) -> None:
        handled.put_nowait(delivery)

    position = await scene.assigned("r1", _started("gone"))
    scene.adopting = Consumer(scene.log.connection, SPEC, handle, max_concurrent=1, ordered=False)
    assert await scene.sweep() == [position]  # requeued once, which counts the delivery; then adopted
    async with asyncio.timeout(DEADLINE_S):
        delivery = await handled.get()
        assert (delivery.recorded.position, delivery.attempt) == (position, 2)
        while (await consumer_info(scene.log.connection, SPEC)).ack_pending:  # noqa: ASYNC110 - of the server
            await asyncio.sleep(0.01)


async def test_a_consumer_without_room_adopts_nothing(scene: Scene) -> None:
    first, second = [await scene.assigned(run_id, _started("gone")) for run_id in ("r1", "r2")]
    sequence = (await consumer_info(scene.log.connection, SPEC)).delivered_sequence

    async def work(_: Delivery) -> None:
        await asyncio.Event().wait()

    room = True
    consumer = Consumer(scene.log.connection, SPEC, work, max_concurrent=1, ordered=False, takes_work=lambda: room)
    room = False
    assert not await consumer.adopt(first, sequence)
    room = True
    assert await consumer.adopt(first, sequence)
    assert not await consumer.adopt(first, sequence)
    assert not await consumer.adopt(second, sequence)
    assert consumer.held == {first}
    await consumer.stop(0.0)


@pytest.mark.parametrize(
    "end",
    [AgentInvokeDone(final_message=""), AgentInvokePaused(waits=[]), _started("own", attempt=2)],
    ids=["done", "paused", "superseded"],
)
async def test_a_task_that_only_lacks_its_acknowledgement_is_left_alone(scene: Scene, end: Event) -> None:
    await scene.assigned("r1", _started("gone"), end)
    assert await scene.sweep() == []


async def test_a_task_must_be_abandoned_for_a_while(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(takeovers, "CONFIRM_S", 60.0)
    position = await scene.assigned("r1", _started("gone"))
    assert await scene.sweep() == []
    scene.held.add(position)
    await scene.sweep()
    scene.held.clear()
    assert await scene.sweep() == []  # its time began anew


async def test_nothing_is_requeued_just_after_a_reconnect(scene: Scene) -> None:
    await scene.assigned("r1", _started("gone"))
    scene.takeover._on_reconnect()
    assert await scene.sweep() == []


async def test_a_sweep_of_a_queue_without_foreign_tasks_asks_no_instance(scene: Scene) -> None:
    asked: list[Message] = []
    await scene.log.connection.subscribe_direct(subjects.instances(QUEUE), asked.append)
    scene.held.add(await scene.assigned("r1", _started("own")))
    await scene.sweep()
    assert asked == []
    assert (await consumer_info(scene.log.connection, SPEC)).ack_pending == 1
