"""Reads the messages of a session's earlier runs from the log, in one request."""

from __future__ import annotations

from syntor.agentkit.domain.context_window import MAX_MESSAGES, recent_messages
from syntor.contracts import subjects
from syntor.contracts.run.v1 import RunDone, UserInput
from syntor.contracts.task.v1 import AgentInvokeFailed
from syntor.eventsourcing.store import EventStore
from syntor.models.chat import ChatMessage


async def read_history(store: EventStore, run_ids: list[str]) -> list[ChatMessage]:
    """Return the newest messages of a session's runs, oldest first; partial answers of stopped runs are included."""
    if not run_ids:
        return []
    newest = run_ids[-MAX_MESSAGES:]
    filters: list[str] = []
    for run_id in newest:
        filters += [subjects.event("run", run_id, "user_input"), subjects.event("run", run_id, "run_done")]
        filters.append(subjects.event("task", subjects.task_id(run_id, "*"), "agent_invoke_failed"))
    by_run: dict[str, list[ChatMessage]] = {run_id: [] for run_id in newest}
    for recorded in await store.last_of_each(filters):
        messages = by_run.get(recorded.envelope.runid)
        if messages is None:
            continue
        match recorded.event:
            case UserInput(content=content):
                messages.append(ChatMessage(role="user", content=content))
            case RunDone(final_message=text) if text:
                messages.append(ChatMessage(role="assistant", content=text))
            case AgentInvokeFailed(partial_message=text) if text:
                messages.append(ChatMessage(role="assistant", content=text))
            case _:
                pass
    return recent_messages([message for run_id in newest for message in by_run[run_id]])
