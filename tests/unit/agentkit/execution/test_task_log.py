"""One attempt at a time owns a task's part of the log."""

from __future__ import annotations

import pytest

from syntor.agentkit.execution.task_log import TaskLog
from syntor.contracts.clock import now
from syntor.contracts.errors import SupersededError
from syntor.contracts.run.v1 import UserInput
from syntor.contracts.task.v1 import AgentInvokeStarted, LlmCallStarted
from syntor.eventsourcing.store import Recorded
from syntor.testing.memory import MemoryStore
from syntor.testing.tasks import assign

STARTED = AgentInvokeStarted(agent="worker", instance="i1")
CALL = LlmCallStarted(call=1, provider="scripted", model="echo")


def _log(store: MemoryStore, assignment: Recorded) -> TaskLog:
    return TaskLog(store, assignment, "agent-worker", now, "")


async def _events(store: MemoryStore) -> list[Recorded]:
    return [recorded async for recorded in store.load("syntor.events.task.r1.>")]


async def test_an_attempt_that_lost_the_task_is_told_once_and_appends_nothing_more() -> None:
    store = MemoryStore()
    assignment = await assign(store, UserInput(agent="worker", queue="worker", content="x"))
    first, second = _log(store, assignment), _log(store, assignment)
    told: list[str] = []
    first.on_superseded = lambda: told.append("first")
    second.on_superseded = lambda: told.append("second")
    await first.begin(STARTED)
    await second.load()
    await second.begin(STARTED)
    for _ in range(2):
        with pytest.raises(SupersededError):
            await first.append(CALL)
    await first.progress("still here", None)  # output events carry no expected revision
    assert [recorded.event for recorded in await _events(store)] == [STARTED, STARTED]
    assert [recorded async for recorded in store.load("syntor.events.output.r1.>")] == []
    assert (first.state.open_call, told) == (0, ["first"])
    await second.append(CALL)


async def test_the_owner_of_a_task_is_the_attempt_that_began_last() -> None:
    store = MemoryStore()
    assignment = await assign(store, UserInput(agent="worker", queue="worker", content="x"))
    first, second = _log(store, assignment), _log(store, assignment)
    await first.begin(STARTED)
    await first.append(CALL)
    await first.check_owner()
    assert not first.superseded
    await second.load()
    await second.begin(STARTED)
    await first.check_owner()
    await second.check_owner()
    assert (first.superseded, second.superseded) == (True, False)


async def test_each_event_is_caused_by_the_one_before_and_the_first_by_the_assignment() -> None:
    store = MemoryStore()
    assignment = await assign(store, UserInput(agent="worker", queue="worker", content="x"))
    log = _log(store, assignment)
    await log.append(STARTED)
    await log.append(CALL)
    started, call = [recorded.envelope for recorded in await _events(store)]
    assert (started.causationid, call.causationid) == (assignment.envelope.id, started.id)
    assert (started.version, call.version) == (1, 2)
    assert log.state.open_call == 1
