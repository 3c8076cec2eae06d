"""The table of tasks."""

from __future__ import annotations

import json
from typing import Any

from syntor.contracts.run.v1 import DelegationRefused, StepSkipped, TaskAssigned, TaskTimedOut
from syntor.contracts.task.v1 import (
    AgentInvokeDone,
    AgentInvokeFailed,
    AgentInvokePaused,
    AgentInvokeStarted,
    DelegationRequested,
    PlanProposed,
)
from syntor.eventsourcing.store import Recorded
from syntor.projections.projection import Row, RowKey, Rows, Table
from syntor.projector.domain import runs
from syntor.projector.domain.columns import INTEGER, TEXT, timestamp

TASKS = Table(
    "tasks",
    {
        "task_key": TEXT, "run_id": TEXT, "task_id": TEXT, "agent": TEXT, "status": TEXT, "instruction": TEXT,
        "parent": TEXT, "step": TEXT, "depends_on": TEXT, "handoff_from": TEXT, "attempt": INTEGER, "message": TEXT,
        "sandbox": TEXT, "created_at": TEXT, "ended_at": TEXT, "first_position": INTEGER, "position": INTEGER,
    },
    indexes=(("run_id",),),
)  # fmt: skip
SETTLED = frozenset({"done", "failed", "refused", "skipped", "timed_out"})


def task_id_of(recorded: Recorded) -> str:
    """Return the task that appended an event; empty: the event is not of category task."""
    category, _, rest = recorded.envelope.subject.partition(".")
    return rest.partition(".")[2] if category == "task" else ""


def task_key(recorded: Recorded, task_id: str = "") -> str:
    """Return the key of a task's row; without an id, of the task that appended the event."""
    return f"{recorded.envelope.runid}.{task_id or task_id_of(recorded)}"


def agent_of(rows: Rows, recorded: Recorded, task_id: str = "") -> str:
    """Return the agent of a task, by default the one that appended the event; empty: not known."""
    task = rows.get(TASKS.name, task_key(recorded, task_id))
    return str(task["agent"]) if task else ""


def keys(recorded: Recorded) -> list[RowKey]:
    """Return the tasks whose rows an event may read or change."""
    event = recorded.event
    ids = {task_id_of(recorded), getattr(event, "task_id", ""), getattr(event, "parent_task_id", "")}
    if isinstance(event, PlanProposed):
        ids |= {step.task_id for step in event.steps}
    return [(TASKS.name, task_key(recorded, task_id)) for task_id in sorted(ids) if task_id]


def apply(rows: Rows, recorded: Recorded) -> None:
    """Change the rows of tasks by one event."""
    own = task_id_of(recorded)
    match recorded.event:
        case TaskAssigned() as event:
            _assign(rows, recorded, event)
        case AgentInvokeStarted(sandbox=sandbox):
            _change(rows, recorded, own, "running", **({"sandbox": sandbox} if sandbox else {}))
        case AgentInvokePaused():
            _change(rows, recorded, own, "paused")
        case AgentInvokeDone():
            _change(rows, recorded, own, "done")
        case AgentInvokeFailed(message=message):
            _change(rows, recorded, own, "failed", message=message)
        case DelegationRequested(task_id=task_id, agent=agent, instruction=instruction):
            _create(rows, recorded, task_id, agent=agent, instruction=instruction, parent=own)
        case PlanProposed() as event:
            _create_steps(rows, recorded, event)
        case DelegationRefused(task_id=task_id, message=message):
            _change(rows, recorded, task_id, "refused", message=message)
        case StepSkipped(task_id=task_id, message=message):
            _change(rows, recorded, task_id, "skipped", message=message)
        case TaskTimedOut(task_id=task_id, message=message):
            _change(rows, recorded, task_id, "timed_out", message=message)
        case _:
            return


def _create(rows: Rows, recorded: Recorded, task_id: str, **values: Any) -> None:
    """Add the row of a task; an existing one is kept."""
    key = task_key(recorded, task_id)
    if rows.get(TASKS.name, key) is not None:
        return
    row: Row = {
        "task_key": key,
        "run_id": recorded.envelope.runid,
        "task_id": task_id,
        "agent": "",
        "status": "waiting",
        "instruction": "",
        "parent": "",
        "step": "",
        "depends_on": "[]",
        "handoff_from": "",
        "attempt": 0,
        "message": "",
        "sandbox": "",
        "created_at": timestamp(recorded.envelope.time),
        "ended_at": None,
        "first_position": recorded.position,
        "position": recorded.position,
    }
    rows.put(TASKS.name, key, {**row, **values})


def _create_steps(rows: Rows, recorded: Recorded, event: PlanProposed) -> None:
    task_ids = {step.id: step.task_id for step in event.steps}
    for step in event.steps:
        _create(
            rows,
            recorded,
            step.task_id,
            agent=step.agent,
            instruction=step.action,
            parent=task_id_of(recorded),
            step=step.id,
            depends_on=json.dumps([task_ids.get(other, other) for other in step.depends_on]),
        )


def _assign(rows: Rows, recorded: Recorded, event: TaskAssigned) -> None:
    values = {"agent": event.agent, "instruction": event.instruction, "parent": event.parent_task_id}
    _create(rows, recorded, event.task_id, **values, step=event.step)
    changes = {"attempt": event.attempt, "handoff_from": event.handoff_from, "message": ""}
    _change(rows, recorded, event.task_id, "assigned", **changes)


def _change(rows: Rows, recorded: Recorded, task_id: str, status: str, **values: Any) -> None:
    """Change the status of a task, and the count of completed steps of its run if the task is a step of a plan."""
    key = task_key(recorded, task_id)
    row = rows.get(TASKS.name, key)
    if row is None:
        return
    if row["status"] == "timed_out" and status != "assigned":  # the result of an attempt that timed out is ignored
        return
    settled = status in SETTLED
    ended = {"ended_at": timestamp(recorded.envelope.time) if settled else None}
    rows.put(TASKS.name, key, {**row, "status": status, **ended, "position": recorded.position, **values})
    newly_settled = int(settled) - int(row["status"] in SETTLED)
    if row["step"] and newly_settled:
        runs.count_completed_steps(rows, recorded, newly_settled)
