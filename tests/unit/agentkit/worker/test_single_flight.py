"""At most one attempt works on a task: the newest one; an attempt that lost stops its calls and appends nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from syntor.agentkit.context import TaskContext
from syntor.contracts.envelope import Lineage
from syntor.contracts.errors import SupersededError
from syntor.contracts.ids import new_id
from syntor.contracts.run.v1 import TaskAssigned, UserInput
from syntor.contracts.task.v1 import AgentInvokeDone, AgentInvokeStarted
from syntor.eventsourcing.store import NewEvent, Recorded
from syntor.jetstream.instances import Standing
from syntor.testing.memory import MemoryStore
from syntor.testing.tasks import AT, assign, delivery, put, task_worker

REQUEST = UserInput(agent="worker", queue="worker", content="look")
DEADLINE_S = 10.0


class Working:
    """An agent that works until told to answer."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.proceed = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.calls = 0

    async def __call__(self, context: TaskContext) -> str:
        self.calls += 1
        self.started.set()
        try:
            await self.proceed.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return "done"


async def _events(store: MemoryStore) -> list[Recorded]:
    return [recorded async for recorded in store.load("syntor.events.task.r1.>")]


async def _instances(store: MemoryStore) -> list[str]:
    return [r.event.instance for r in await _events(store) if isinstance(r.event, AgentInvokeStarted)]


async def test_an_attempt_that_lost_while_stalled_stops_its_agent_and_appends_nothing(tmp_path: Path) -> None:
    store, slow, quick = MemoryStore(), Working(), Working()
    assignment = await assign(store, REQUEST)
    stalled = task_worker(store, tmp_path, invoke=slow, instance="i1")
    losing = asyncio.create_task(stalled.handle(delivery(assignment)))
    await asyncio.wait_for(slow.started.wait(), DEADLINE_S)
    quick.proceed.set()
    await task_worker(store, tmp_path, invoke=quick, instance="i2", standing="silent").handle(delivery(assignment, 2))
    stalled.check_owners()
    with pytest.raises(SupersededError):
        await asyncio.wait_for(losing, DEADLINE_S)
    assert slow.cancelled.is_set()
    assert stalled.active == 0
    assert await _instances(store) == ["i1", "i2"]
    assert [type(r.event) for r in await _events(store)][2:] == [AgentInvokeDone]


async def test_an_attempt_that_lost_finds_out_at_its_next_append(tmp_path: Path) -> None:
    store, slow, quick = MemoryStore(), Working(), Working()
    assignment = await assign(store, REQUEST)
    losing = asyncio.create_task(task_worker(store, tmp_path, invoke=slow).handle(delivery(assignment)))
    await asyncio.wait_for(slow.started.wait(), DEADLINE_S)
    winning = asyncio.create_task(
        task_worker(store, tmp_path, invoke=quick, instance="i2").handle(delivery(assignment, 2))
    )
    await asyncio.wait_for(quick.started.wait(), DEADLINE_S)
    slow.proceed.set()
    with pytest.raises(SupersededError):
        await asyncio.wait_for(losing, DEADLINE_S)
    quick.proceed.set()
    await asyncio.wait_for(winning, DEADLINE_S)
    assert [type(r.event) for r in await _events(store)].count(AgentInvokeDone) == 1


async def test_a_redelivery_to_another_instance_is_left_to_the_one_that_works_on_it(tmp_path: Path) -> None:
    store, agent, other = MemoryStore(), Working(), Working()
    assignment = await assign(store, REQUEST)
    working = asyncio.create_task(task_worker(store, tmp_path, invoke=agent).handle(delivery(assignment)))
    await asyncio.wait_for(agent.started.wait(), DEADLINE_S)
    with pytest.raises(SupersededError, match="instance i1 works on task t1"):
        await task_worker(store, tmp_path, invoke=other, instance="i2", standing="held").handle(delivery(assignment, 2))
    agent.proceed.set()
    await asyncio.wait_for(working, DEADLINE_S)
    assert (other.calls, await _instances(store)) == (0, ["i1"])


@pytest.mark.parametrize("standing", ["gone", "not_held", "silent"])
async def test_a_redelivery_continues_the_task_of_an_instance_that_does_not_hold_it(
    tmp_path: Path, standing: Standing
) -> None:
    store, agent = MemoryStore(), Working()
    agent.proceed.set()
    assignment = await assign(store, REQUEST)
    await _begun(store, "i1")
    await task_worker(store, tmp_path, invoke=agent, instance="i2", standing=standing).handle(delivery(assignment, 2))
    assert await _instances(store) == ["i1", "i2"]
    assert isinstance((await _events(store))[-1].event, AgentInvokeDone)


async def test_a_first_delivery_that_another_instance_began_meanwhile_is_left_to_it(tmp_path: Path) -> None:
    store, agent = MemoryStore(), Working()
    assignment = await assign(store, REQUEST)
    await _begun(store, "i1")
    with pytest.raises(SupersededError):
        await task_worker(store, tmp_path, invoke=agent, instance="i2", standing="held").handle(delivery(assignment))
    assert (agent.calls, await _instances(store)) == (0, ["i1"])


async def test_a_new_attempt_in_the_same_process_stops_the_one_before(tmp_path: Path) -> None:
    store, agents = MemoryStore(), [Working(), Working()]
    assignment = await assign(store, REQUEST)
    worker = task_worker(store, tmp_path, invoke=lambda context: agents[context.assigned.attempt - 1](context))
    first = asyncio.create_task(worker.handle(delivery(assignment)))
    await asyncio.wait_for(agents[0].started.wait(), DEADLINE_S)
    again = TaskAssigned(task_id="t1", agent="worker", queue="worker", attempt=2)
    position = await put(store, "r1", again, version=3, revision=None)
    assignment = await store.get(position) or assignment
    second = asyncio.create_task(worker.handle(delivery(assignment)))
    with pytest.raises(SupersededError):
        await asyncio.wait_for(first, DEADLINE_S)
    assert worker.active == 1
    agents[1].proceed.set()
    await asyncio.wait_for(second, DEADLINE_S)
    assert agents[0].cancelled.is_set()
    assert isinstance((await _events(store))[-1].event, AgentInvokeDone)


async def _begun(store: MemoryStore, instance: str) -> None:
    """Put the start of the task by an instance into the log."""
    new = NewEvent(
        aggregate_id="r1.t1",
        event=AgentInvokeStarted(agent="worker", instance=instance),
        message_id=new_id(),
        source="test",
        time=AT,
        version=1,
        lineage=Lineage(run_id="r1", session_id="s1", first_position=1),
    )
    await store.append(new, 0)
