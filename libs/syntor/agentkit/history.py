"""The messages of a session an agent gets: read from the log, the newest runs, in one request."""

from __future__ import annotations

from syntor.contracts import subjects
from syntor.contracts.run.v1 import RunDone, UserInput
from syntor.contracts.task.v1 import AgentInvokeFailed
from syntor.eventsourcing.store import EventStore
from syntor.models.chat import ChatMessage

MAX_MESSAGES = 50
MAX_CHARACTERS = 12_000  # of history; about 3,000 tokens, half of the smallest model's context


async def read_history(store: EventStore, run_ids: list[str]) -> list[ChatMessage]:
    """Return the newest messages of earlier runs of a session, oldest first; what a stopped run had said is kept."""
    if not run_ids:
        return []
    newest = run_ids[-MAX_MESSAGES:]
    filters: list[str] = []
    for run_id in newest:
        filters += [subjects.event("run", run_id, "user_input"), subjects.event("run", run_id, "run_done")]
        filters.append(subjects.event("task", subjects.task_id(run_id, "*"), "agent_invoke_failed"))
    said: dict[str, list[ChatMessage]] = {run_id: [] for run_id in newest}
    for recorded in await store.last_of_each(filters):
        messages = said.get(recorded.envelope.runid)
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
    return trim([message for run_id in newest for message in said[run_id]])


def trim(messages: list[ChatMessage]) -> list[ChatMessage]:
    """Return the newest messages that fit the limits, oldest first, beginning with a user's."""
    kept: list[ChatMessage] = []
    characters = 0
    for message in reversed(messages[-MAX_MESSAGES:]):
        characters += len(message.content)
        if characters > MAX_CHARACTERS and kept:
            break
        kept.append(message)
    kept.reverse()
    while kept and kept[0].role != "user":
        kept.pop(0)
    return kept
