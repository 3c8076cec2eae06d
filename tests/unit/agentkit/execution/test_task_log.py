"""One attempt at a time owns a task's part of the log."""

from __future__ import annotations

import pytest

from syntor.agentkit.execution.task_log import TaskLog
from syntor.agentkit.worker.task_worker import now
from syntor.contracts.errors import RevisionConflictError
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


async def test_an_attempt_that_lost_the_task_gets_a_conflict_and_appends_nothing() -> None:
    store = MemoryStore()
    assignment = await assign(store, UserInput(agent="worker", queue="worker", content="x"))
    first, second = _log(store, assignment), _log(store, assignment)
    await first.append(STARTED)
    await second.load()
    await second.append(STARTED)
    with pytest.raises(RevisionConflictError):
        await first.append(CALL)
    assert [recorded.event for recorded in await _events(store)] == [STARTED, STARTED]
    assert first.state.open_call == 0


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
