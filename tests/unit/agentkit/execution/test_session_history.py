"""Earlier messages of a session are read from the log, partial answers of stopped runs included."""

from __future__ import annotations

from datetime import UTC, datetime

from syntor.agentkit.execution.session_history import SessionHistory
from syntor.contracts.envelope import Lineage
from syntor.contracts.events import Event
from syntor.contracts.ids import new_id
from syntor.contracts.run.v1 import RunCancelled, RunDone, UserInput
from syntor.contracts.task.v1 import AgentInvokeFailed
from syntor.eventsourcing.store import NewEvent
from syntor.testing.memory import MemoryStore


async def _append(store: MemoryStore, run_id: str, event: Event) -> None:
    aggregate_id = f"{run_id}.t1" if isinstance(event, AgentInvokeFailed) else run_id
    at = datetime(2026, 11, 21, tzinfo=UTC)
    new = NewEvent(
        aggregate_id=aggregate_id,
        event=event,
        message_id=new_id(),
        source="t",
        time=at,
        version=1,
        lineage=Lineage(run_id=run_id),
    )
    await store.append(new, None)


async def test_answers_and_partial_answers_are_kept_in_order() -> None:
    store = MemoryStore()
    await _append(store, "r1", UserInput(agent="a", queue="a", content="one"))
    await _append(store, "r1", RunDone(final_message="first"))
    await _append(store, "r2", UserInput(agent="a", queue="a", content="two"))
    await _append(store, "r2", RunCancelled())
    await _append(store, "r2", AgentInvokeFailed(code="cancelled", message="", partial_message="half"))
    memory = (await SessionHistory.read(store, ["r1", "r2"])).said
    messages = [(message.role, message.content) for turn in memory.turns for message in turn.messages]
    assert messages == [("user", "one"), ("assistant", "first"), ("user", "two"), ("assistant", "half")]
    assert (await SessionHistory.read(store, [])).said.turns == []
