"""The tables people ask about, and how each event changes them: pure, from events only, so a rebuild is identical."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import msgspec

from syntor.contracts import subjects
from syntor.contracts.agent.v1 import AgentDeregistered, AgentRegistered, AgentStatusChanged
from syntor.contracts.request.v1 import SessionForked
from syntor.contracts.run.v1 import RunCancelled, RunDone, RunFailed, RunPaused, RunStarted, TaskAssigned, UserInput
from syntor.contracts.task.v1 import AgentInvokeFailed, LlmCallDone, PlanProposed, ToolResult, Usage
from syntor.eventsourcing.store import Recorded
from syntor.projections.projection import Row, RowKey, Rows, Table
from syntor.projector.domain import tasks
from syntor.projector.domain.tasks import APPROVALS, TASKS, at, task_key

TITLE_CHARACTERS = 80
_T, _I, _F = "TEXT", "BIGINT", "DOUBLE PRECISION"
_USAGE = {"input_tokens": _I, "output_tokens": _I, "cached_input_tokens": _I, "cost_microusd": _I}

RUNS = Table(
    "runs",
    {
        "run_id": _T, "session_id": _T, "agent": _T, "status": _T, "input": _T, "final_message": _T, "error_code": _T,
        "error_message": _T, "model": _T, "correlation_id": _T, "metadata": _T, "created_at": _T, "started_at": _T,
        "ended_at": _T, **_USAGE, "llm_calls": _I, "tool_calls": _I, "first_position": _I, "position": _I,
        "retry_of": _T, "steps": _I, "steps_over": _I,
    },
    indexes=(("first_position",), ("session_id",)),
)  # fmt: skip
SESSIONS = Table(
    "sessions",
    {
        "session_id": _T, "title": _T, "agent": _T, "runs": _I, "messages": _I, "created_at": _T, "updated_at": _T,
        "last_run_id": _T, **_USAGE, "last_first_position": _I, "position": _I, "forked_from": _T,
        "forked_history": _T,
    },
    indexes=(("last_first_position",),),
)  # fmt: skip
MESSAGES = Table(
    "messages",
    {
        "message_id": _T, "session_id": _T, "run_id": _T, "role": _T, "agent": _T, "content": _T, "status": _T,
        "created_at": _T, "position": _I,
    },
    indexes=(("session_id", "position"),),
)  # fmt: skip
CALLS = Table(
    "model_calls",
    {
        "call_id": _T, "run_id": _T, "session_id": _T, "agent": _T, "model": _T, "day": _T, **_USAGE,
        "duration_s": _F, "position": _I,
    },
    indexes=(("run_id",),),
)  # fmt: skip
AGENTS = Table(
    "agents",
    {"agent_id": _T, "name": _T, "profile": _T, "status": _T, "health": _T, "registered_at": _T, "position": _I},
)


class ReadModel:
    """`Projection` of runs, tasks, approvals, sessions, messages, model calls and agents."""

    name = "read_model"
    version = 2
    tables: tuple[Table, ...] = (RUNS, TASKS, APPROVALS, SESSIONS, MESSAGES, CALLS, AGENTS)

    def handles(self, subject: str) -> bool:
        """Return whether a message can change a row; output deltas and session turns cannot."""
        return not subject.startswith((f"{subjects.EVENTS_PREFIX}.output.", f"{subjects.EVENTS_PREFIX}.session."))

    def keys(self, recorded: Recorded) -> Iterable[RowKey]:
        """Return the rows an event may read or change."""
        envelope = recorded.envelope
        if envelope.subject.startswith("agent."):
            return ((AGENTS.name, envelope.subject.removeprefix("agent.")),)
        if not envelope.runid:
            return ((SESSIONS.name, envelope.sessionid),) if envelope.sessionid else ()
        own: list[RowKey] = [(RUNS.name, envelope.runid), (SESSIONS.name, envelope.sessionid)]
        return own if envelope.type == "user_input" else own + tasks.keys(recorded)

    def apply(self, rows: Rows, recorded: Recorded) -> None:
        """Change rows by one event."""
        event, envelope = recorded.event, recorded.envelope
        match event:
            case UserInput():
                _begin(rows, recorded, event)
            case RunStarted():
                _change_run(rows, recorded, status="running", started_at=at(envelope.time))
            case RunPaused(reason=reason):
                _change_run(rows, recorded, status=f"paused_waiting_{reason}")
            case RunDone(final_message=text):
                _change_run(rows, recorded, status="done", final_message=text, ended_at=at(envelope.time))
                _say(rows, recorded, text, "complete", agent=_agent_of(rows, recorded, event.task_id))
            case RunFailed(code=code, message=message):
                ended_at = at(envelope.time)
                _change_run(rows, recorded, status="failed", error_code=code, error_message=message, ended_at=ended_at)
            case RunCancelled(reason=reason):
                _change_run(rows, recorded, status="cancelled", error_message=reason, ended_at=at(envelope.time))
            case LlmCallDone():
                _count_call(rows, recorded, event)
            case ToolResult():
                rows.update(RUNS.name, envelope.runid, lambda run: {"tool_calls": run["tool_calls"] + 1})
                _change_run(rows, recorded)
            case SessionForked():
                _fork(rows, recorded, event)
            case _ if isinstance(event, tasks.TaskChange):
                _change_task(rows, recorded, event)
            case _ if isinstance(event, tasks.ApprovalChange):
                tasks.change_approval(rows, recorded, event)
            case AgentRegistered() | AgentStatusChanged() | AgentDeregistered():
                _change_agent(rows, recorded, event)
            case _:
                return


def _change_task(rows: Rows, recorded: Recorded, event: tasks.TaskChange) -> None:
    steps_over = tasks.change_task(rows, recorded, event)
    match event:
        case TaskAssigned():
            _change_run(rows, recorded, status="running")
        case PlanProposed(steps=steps):
            rows.update(RUNS.name, recorded.envelope.runid, lambda run: {"steps": run["steps"] + len(steps)})
            _change_run(rows, recorded)
        case AgentInvokeFailed(code=code, partial_message=text) if text:
            task = rows.get(TASKS.name, task_key(recorded))
            if task is None or not task["parent"] or task["handoff_from"]:  # what others say is no message to the user
                agent = task["agent"] if task else ""
                _say(rows, recorded, text, "cancelled" if code == "cancelled" else "failed", agent=agent)
        case _:
            pass
    if steps_over:
        rows.update(RUNS.name, recorded.envelope.runid, lambda run: {"steps_over": run["steps_over"] + steps_over})
        _change_run(rows, recorded)


def _agent_of(rows: Rows, recorded: Recorded, task_id: str = "") -> str:
    """Return the agent of a task; empty: not known, which is the run's own."""
    task = rows.get(TASKS.name, task_key(recorded, task_id))
    return str(task["agent"]) if task else ""


def _usage(usage: Usage) -> Row:
    return {column: getattr(usage, column) for column in _USAGE}


def _plus(row: Row, usage: Usage) -> Row:
    return {column: row[column] + getattr(usage, column) for column in _USAGE}


def _begin(rows: Rows, recorded: Recorded, event: UserInput) -> None:
    envelope = recorded.envelope
    now = at(envelope.time)
    rows.put(
        RUNS.name,
        envelope.runid,
        {
            "run_id": envelope.runid,
            "session_id": envelope.sessionid,
            "agent": event.agent,
            "status": "created",
            "input": event.content,
            "final_message": "",
            "error_code": "",
            "error_message": "",
            "model": "",
            "correlation_id": envelope.correlationid,
            "metadata": json.dumps(event.metadata, sort_keys=True),
            "created_at": now,
            "started_at": None,
            "ended_at": None,
            **_usage(Usage()),
            "llm_calls": 0,
            "tool_calls": 0,
            "first_position": recorded.position,
            "position": recorded.position,
            "retry_of": event.retry_of,
            "steps": 0,
            "steps_over": 0,
        },
    )
    session = rows.get(SESSIONS.name, envelope.sessionid) or _session(
        recorded, title=(event.content.strip().splitlines() or [""])[0][:TITLE_CHARACTERS]
    )
    newest = {"agent": event.agent, "last_run_id": envelope.runid, "last_first_position": recorded.position}
    rows.put(SESSIONS.name, envelope.sessionid, {**session, **newest, "runs": session["runs"] + 1})
    _say(rows, recorded, event.content, "complete", role="user")


def _session(recorded: Recorded, **columns: Any) -> Row:
    now = at(recorded.envelope.time)
    return {
        "session_id": recorded.envelope.sessionid,
        "title": "",
        "agent": "",
        "runs": 0,
        "messages": 0,
        "created_at": now,
        "updated_at": now,
        "last_run_id": recorded.envelope.runid,
        **_usage(Usage()),
        "last_first_position": recorded.position,
        "position": recorded.position,
        "forked_from": "",
        "forked_history": "[]",
        **columns,
    }


def _fork(rows: Rows, recorded: Recorded, event: SessionForked) -> None:
    session_id = recorded.envelope.sessionid
    forked = {
        "title": event.title[:TITLE_CHARACTERS],
        "agent": event.agent,
        "forked_from": event.session_id,
        "forked_history": json.dumps(event.history),
    }
    rows.put(SESSIONS.name, session_id, _session(recorded, **forked))


def _change_run(rows: Rows, recorded: Recorded, **changes: Any) -> None:
    rows.update(RUNS.name, recorded.envelope.runid, lambda _: {**changes, "position": recorded.position})


def _say(rows: Rows, recorded: Recorded, text: str, status: str, *, role: str = "assistant", agent: str = "") -> None:
    """Add a message to the run's session."""
    envelope = recorded.envelope
    run = rows.get(RUNS.name, envelope.runid)
    if run is None:
        return
    message_id = f"{envelope.runid}-{recorded.position}"
    rows.put(
        MESSAGES.name,
        message_id,
        {
            "message_id": message_id,
            "session_id": envelope.sessionid,
            "run_id": envelope.runid,
            "role": role,
            "agent": agent or run["agent"],
            "content": text,
            "status": status,
            "created_at": at(envelope.time),
            "position": recorded.position,
        },
    )
    rows.update(
        SESSIONS.name,
        envelope.sessionid,
        lambda session: {
            "messages": session["messages"] + 1,
            "updated_at": at(envelope.time),
            "position": recorded.position,
        },
    )


def _count_call(rows: Rows, recorded: Recorded, event: LlmCallDone) -> None:
    envelope = recorded.envelope
    run = rows.get(RUNS.name, envelope.runid)
    if run is None:
        return
    call_id = f"{envelope.subject.removeprefix('task.')}.{event.call}"
    model = f"{event.provider}/{event.model}"
    rows.put(
        CALLS.name,
        call_id,
        {
            "call_id": call_id,
            "run_id": envelope.runid,
            "session_id": envelope.sessionid,
            "agent": _agent_of(rows, recorded) or run["agent"],
            "model": model,
            "day": envelope.time.strftime("%Y-%m-%d"),
            **_usage(event.usage),
            "duration_s": event.duration_s,
            "position": recorded.position,
        },
    )
    counted = {**_plus(run, event.usage), "llm_calls": run["llm_calls"] + 1}
    _change_run(rows, recorded, **counted, model=model)
    rows.update(
        SESSIONS.name,
        envelope.sessionid,
        lambda session: {**_plus(session, event.usage), "position": recorded.position},
    )


def _change_agent(
    rows: Rows, recorded: Recorded, event: AgentRegistered | AgentStatusChanged | AgentDeregistered
) -> None:
    agent_id = recorded.envelope.subject.removeprefix("agent.")
    match event:
        case AgentRegistered(profile=profile):
            known = rows.get(AGENTS.name, agent_id)
            kept = known if known is not None and known["status"] != "deregistered" else None
            rows.put(
                AGENTS.name,
                agent_id,
                {
                    "agent_id": agent_id,
                    "name": profile.name,
                    "profile": msgspec.json.encode(profile, order="sorted").decode(),
                    "status": kept["status"] if kept else "idle",
                    "health": kept["health"] if kept else "unknown",
                    "registered_at": kept["registered_at"] if kept else at(recorded.envelope.time),
                    "position": recorded.position,
                },
            )
        case AgentStatusChanged(status=status, health=health):
            changed = {"status": status, "health": health, "position": recorded.position}
            rows.update(AGENTS.name, agent_id, lambda _: changed)
        case AgentDeregistered():
            rows.update(AGENTS.name, agent_id, lambda _: {"status": "deregistered", "position": recorded.position})
