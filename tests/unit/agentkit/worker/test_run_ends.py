"""The end of a run stops its tasks once it is in the log, and not before."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from syntor.agentkit.context import TaskContext
from syntor.agentkit.worker import task_worker as task_workers
from syntor.contracts.run.v1 import RunCancelled, UserInput
from syntor.contracts.task.v1 import AgentInvokeDone, AgentInvokeFailed
from syntor.jetstream.connection import Message
from syntor.testing.failing import FailingStore
from syntor.testing.tasks import assign, delivery, put, task_worker

REQUEST = UserInput(agent="worker", queue="worker", content="look")
CANCELLED = Message(subject="syntor.events.run.r1.run_cancelled", payload=b"{}", reply="", headers=None)
DEADLINE_S = 10.0


class Working:
    """An agent that works until told to answer."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.proceed = asyncio.Event()

    async def __call__(self, context: TaskContext) -> str:
        self.started.set()
        await self.proceed.wait()
        return "done"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_workers, "_CONFIRM_AFTER_S", (0.01, 0.01))


async def _cancel(store: FailingStore) -> None:
    await put(store, "r1", RunCancelled(reason="enough", requested_by="me"), version=3, revision=3)


async def test_an_end_the_log_refused_stops_nothing(tmp_path: Path) -> None:
    store, agent = FailingStore(), Working()
    recorded = await assign(store, REQUEST)
    worker = task_worker(store, tmp_path, invoke=agent)
    working = asyncio.create_task(worker.handle(delivery(recorded)))
    await asyncio.wait_for(agent.started.wait(), DEADLINE_S)
    worker.on_run_ended(CANCELLED)
    await asyncio.gather(*worker._confirming)
    agent.proceed.set()
    await asyncio.wait_for(working, DEADLINE_S)
    last = await store.last("syntor.events.task.r1.t1.>")
    assert last is not None
    assert isinstance(last.event, AgentInvokeDone)


async def test_an_end_in_the_log_stops_the_task_which_records_it(tmp_path: Path) -> None:
    store, agent = FailingStore(), Working()
    recorded = await assign(store, REQUEST)
    worker = task_worker(store, tmp_path, invoke=agent)
    working = asyncio.create_task(worker.handle(delivery(recorded)))
    await asyncio.wait_for(agent.started.wait(), DEADLINE_S)
    worker.on_run_ended(CANCELLED)  # overtakes the append's own acknowledgement
    await _cancel(store)
    await asyncio.wait_for(working, DEADLINE_S)
    last = await store.last("syntor.events.task.r1.t1.>")
    assert last is not None
    assert isinstance(last.event, AgentInvokeFailed)
    assert last.event.code == "cancelled"


async def test_an_end_that_came_first_leaves_nothing_to_do(tmp_path: Path) -> None:
    store, agent = FailingStore(), Working()
    recorded = await assign(store, REQUEST)
    await _cancel(store)
    worker = task_worker(store, tmp_path, invoke=agent)
    worker.on_run_ended(CANCELLED)
    await asyncio.wait_for(worker.handle(delivery(recorded)), DEADLINE_S)
    assert not agent.started.is_set()
