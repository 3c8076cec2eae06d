"""The tables of sessions and of their messages."""

from __future__ import annotations

import json
from typing import Any

from syntor.contracts.run.v1 import RunDone, UserInput
from syntor.contracts.session.v1 import SessionForked, SessionRewound
from syntor.contracts.task.v1 import AgentInvokeFailed, LlmCallDone, Usage
from syntor.eventsourcing.store import Recorded
from syntor.projections.projection import Row, RowKey, Rows, Table
from syntor.projector.domain import columns
from syntor.projector.domain.columns import INTEGER, TEXT, timestamp
from syntor.projector.domain.runs import RUNS
from syntor.projector.domain.tasks import TASKS, agent_of, task_key

TITLE_CHARACTERS = 80

SESSIONS = Table(
    "sessions",
    {
        "session_id": TEXT, "title": TEXT, "agent": TEXT, "runs": INTEGER, "messages": INTEGER, "created_at": TEXT,
        "updated_at": TEXT, "last_run_id": TEXT, **columns.USAGE, "last_first_position": INTEGER, "position": INTEGER,
        "forked_from": TEXT, "forked_history": TEXT, "hidden": TEXT, "undone": TEXT,
        "undone_before": TEXT,
    },
    indexes=(("last_first_position",),),
)  # fmt: skip
MESSAGES = Table(
    "messages",
    {
        "message_id": TEXT, "session_id": TEXT, "run_id": TEXT, "role": TEXT, "agent": TEXT, "content": TEXT,
        "status": TEXT, "created_at": TEXT, "turn": INTEGER, "position": INTEGER,
    },
    indexes=(("session_id", "turn", "position"), ("position",)),
)  # fmt: skip


def keys(recorded: Recorded) -> list[RowKey]:
    """Return the session whose row an event may read or change; a message's row is only ever added."""
    envelope = recorded.envelope
    return [(SESSIONS.name, envelope.sessionid)] if envelope.runid or envelope.sessionid else []


def apply(rows: Rows, recorded: Recorded) -> None:
    """Change the row of a session, and add a message to it, by one event."""
    match recorded.event:
        case UserInput() as event:
            _add_run(rows, recorded, event)
            _add_message(rows, recorded, event.content, role="user")
        case SessionForked() as event:
            _fork(rows, recorded, event)
        case SessionRewound() as event:
            rewound = {
                "hidden": json.dumps(event.hidden),
                "undone": json.dumps(event.undone),
                "undone_before": json.dumps(event.undone_before),
                "position": recorded.position,
            }
            rows.update(SESSIONS.name, recorded.envelope.sessionid, lambda _: rewound)
        case RunDone(task_id=task_id, final_message=text):
            _add_message(rows, recorded, text, agent=agent_of(rows, recorded, task_id))
        case AgentInvokeFailed(code=code, partial_message=text) if text:
            task = rows.get(TASKS.name, task_key(recorded))
            if task is None or not task["parent"] or task["handoff_from"]:  # a delegate's text is not for the user
                status = "cancelled" if code == "cancelled" else "failed"
                _add_message(rows, recorded, text, status=status, agent=task["agent"] if task else "")
        case LlmCallDone(usage=used) if rows.get(RUNS.name, recorded.envelope.runid) is not None:
            _add_usage(rows, recorded, used)
        case _:
            return


def _add_run(rows: Rows, recorded: Recorded, event: UserInput) -> None:
    envelope = recorded.envelope
    session = rows.get(SESSIONS.name, envelope.sessionid)
    if session is None:
        title = (event.content.strip().splitlines() or [""])[0][:TITLE_CHARACTERS]
        session = _created(recorded, title=title)
    newest = {"agent": event.agent, "last_run_id": envelope.runid, "last_first_position": recorded.position}
    rows.put(SESSIONS.name, envelope.sessionid, {**session, **newest, "runs": session["runs"] + 1})


def _fork(rows: Rows, recorded: Recorded, event: SessionForked) -> None:
    forked = {
        "title": event.title[:TITLE_CHARACTERS],
        "agent": event.agent,
        "forked_from": event.session_id,
        "forked_history": json.dumps(event.history),
    }
    rows.put(SESSIONS.name, recorded.envelope.sessionid, _created(recorded, **forked))


def _created(recorded: Recorded, **values: Any) -> Row:
    at = timestamp(recorded.envelope.time)
    return {
        "session_id": recorded.envelope.sessionid,
        "title": "",
        "agent": "",
        "runs": 0,
        "messages": 0,
        "created_at": at,
        "updated_at": at,
        "last_run_id": recorded.envelope.runid,
        **columns.usage(Usage()),
        "last_first_position": recorded.position,
        "position": recorded.position,
        "forked_from": "",
        "forked_history": "[]",
        "hidden": "[]",
        "undone": "[]",
        "undone_before": "[]",
        **values,
    }


def _add_usage(rows: Rows, recorded: Recorded, used: Usage) -> None:
    def added(session: Row) -> Row:
        return {column: session[column] + getattr(used, column) for column in columns.USAGE}

    session_id = recorded.envelope.sessionid
    rows.update(SESSIONS.name, session_id, lambda session: {**added(session), "position": recorded.position})


def _add_message(
    rows: Rows, recorded: Recorded, text: str, *, role: str = "assistant", agent: str = "", status: str = "complete"
) -> None:
    """Add a message to the run's session; an empty `agent` is the run's own."""
    envelope = recorded.envelope
    run = rows.get(RUNS.name, envelope.runid)
    if run is None:
        return
    at = timestamp(envelope.time)
    message_id = f"{envelope.runid}-{recorded.position}"
    message = {
        "message_id": message_id,
        "session_id": envelope.sessionid,
        "run_id": envelope.runid,
        "role": role,
        "agent": agent or run["agent"],
        "content": text,
        "status": status,
        "created_at": at,
        "turn": run["first_position"],  # so that an answer follows its question where turns wait for each other
        "position": recorded.position,
    }
    rows.put(MESSAGES.name, message_id, message)
    rows.update(
        SESSIONS.name,
        envelope.sessionid,
        lambda session: {"messages": session["messages"] + 1, "updated_at": at, "position": recorded.position},
    )
