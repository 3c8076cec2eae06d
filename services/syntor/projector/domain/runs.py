"""The table of runs."""

from __future__ import annotations

import json
from typing import Any

from syntor.contracts.run.v1 import RunCancelled, RunDone, RunFailed, RunPaused, RunStarted, TaskAssigned, UserInput
from syntor.contracts.task.v1 import LlmCallDone, PlanProposed, ToolResult, Usage
from syntor.eventsourcing.store import Recorded
from syntor.projections.projection import Row, RowKey, Rows, Table
from syntor.projector.domain import columns
from syntor.projector.domain.columns import INTEGER, TEXT, timestamp

RUNS = Table(
    "runs",
    {
        "run_id": TEXT, "session_id": TEXT, "agent": TEXT, "status": TEXT, "input": TEXT, "final_message": TEXT,
        "error_code": TEXT, "error_message": TEXT, "model": TEXT, "correlation_id": TEXT, "metadata": TEXT,
        "created_at": TEXT, "started_at": TEXT, "ended_at": TEXT, **columns.USAGE, "llm_calls": INTEGER,
        "tool_calls": INTEGER, "first_position": INTEGER, "position": INTEGER, "retry_of": TEXT, "steps": INTEGER,
        "steps_completed": INTEGER, "not_applied": INTEGER,
    },
    indexes=(("first_position",), ("session_id",)),
)  # fmt: skip


def keys(recorded: Recorded) -> list[RowKey]:
    """Return the run whose row an event may read or change."""
    run_id = recorded.envelope.runid
    return [(RUNS.name, run_id)] if run_id else []


def apply(rows: Rows, recorded: Recorded) -> None:
    """Change the row of a run by one event."""
    match recorded.event:
        case UserInput() as event:
            rows.put(RUNS.name, recorded.envelope.runid, _created(recorded, event))
        case RunStarted():
            _set(rows, recorded, status="running", started_at=_at(recorded))
        case TaskAssigned():
            _set(rows, recorded, status="running")
        case RunPaused(reason=reason):
            _set(rows, recorded, status=f"paused_waiting_{reason}")
        case RunDone(final_message=text):
            _set(rows, recorded, status="done", final_message=text, ended_at=_at(recorded))
        case RunFailed(code=code, message=message):
            _set(rows, recorded, status="failed", error_code=code, error_message=message, ended_at=_at(recorded))
        case RunCancelled(reason=reason):
            _set(rows, recorded, status="cancelled", error_message=reason, ended_at=_at(recorded))
        case LlmCallDone(provider=provider, model=model, usage=used):
            _add(rows, recorded, **columns.usage(used), llm_calls=1)
            _set(rows, recorded, model=f"{provider}/{model}")
        case ToolResult():
            _add(rows, recorded, tool_calls=1)
        case PlanProposed(steps=steps):
            _add(rows, recorded, steps=len(steps))
        case _:
            return


def count_completed_steps(rows: Rows, recorded: Recorded, steps: int) -> None:
    """Add to the run's completed plan steps; negative when a completed step is attempted again."""
    _add(rows, recorded, steps_completed=steps)


def mark_not_applied(rows: Rows, recorded: Recorded) -> None:
    """Count an event that could not be applied: the row lacks what it says."""
    _add(rows, recorded, not_applied=1)


def _at(recorded: Recorded) -> str:
    return timestamp(recorded.envelope.time)


def _created(recorded: Recorded, event: UserInput) -> Row:
    envelope = recorded.envelope
    return {
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
        "created_at": _at(recorded),
        "started_at": None,
        "ended_at": None,
        **columns.usage(Usage()),
        "llm_calls": 0,
        "tool_calls": 0,
        "first_position": recorded.position,
        "position": recorded.position,
        "retry_of": event.retry_of,
        "steps": 0,
        "steps_completed": 0,
        "not_applied": 0,
    }


def _set(rows: Rows, recorded: Recorded, **values: Any) -> None:
    rows.update(RUNS.name, recorded.envelope.runid, lambda _: {**values, "position": recorded.position})


def _add(rows: Rows, recorded: Recorded, **increments: int) -> None:
    def added(run: Row) -> Row:
        return {column: run[column] + increment for column, increment in increments.items()}

    rows.update(RUNS.name, recorded.envelope.runid, lambda run: {**added(run), "position": recorded.position})
