"""Tables of a run's tasks and of the approvals somebody is asked for: pure, as `read_model`."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import msgspec

from syntor.contracts.request.v1 import ApprovalDecision
from syntor.contracts.run.v1 import ApprovalExpired, DelegationRefused, StepSkipped, TaskAssigned, TaskTimedOut
from syntor.contracts.task.v1 import (
    AgentInvokeDone,
    AgentInvokeFailed,
    AgentInvokePaused,
    AgentInvokeStarted,
    ApprovalRequired,
    DelegationRequested,
    PlanProposed,
)
from syntor.eventsourcing.store import Recorded
from syntor.projections.projection import Row, RowKey, Rows, Table

_T, _I = "TEXT", "BIGINT"
TASKS = Table(
    "tasks",
    {
        "task_key": _T, "run_id": _T, "task_id": _T, "agent": _T, "status": _T, "instruction": _T, "parent": _T,
        "step": _T, "depends_on": _T, "handoff_from": _T, "attempt": _I, "message": _T, "sandbox": _T,
        "created_at": _T, "ended_at": _T, "first_position": _I, "position": _I,
    },
    indexes=(("run_id",),),
)  # fmt: skip
APPROVALS = Table(
    "approvals",
    {
        "approval_key": _T, "run_id": _T, "session_id": _T, "task_id": _T, "approval_id": _T, "call_id": _T,
        "agent": _T, "title": _T, "preview": _T, "reason": _T, "rule": _T, "content_hash": _T, "status": _T,
        "created_at": _T, "expires_at": _T, "decided_at": _T, "decided_by": _T, "decision_reason": _T,
        "first_position": _I, "position": _I,
    },
    indexes=(("run_id",), ("status",)),
)  # fmt: skip
OVER = frozenset({"done", "failed", "refused", "skipped", "timed_out"})

TaskChange = (
    TaskAssigned
    | AgentInvokeStarted
    | AgentInvokePaused
    | AgentInvokeDone
    | AgentInvokeFailed
    | PlanProposed
    | DelegationRequested
    | DelegationRefused
    | StepSkipped
    | TaskTimedOut
)
ApprovalChange = ApprovalRequired | ApprovalDecision | ApprovalExpired


def at(time: datetime) -> str:
    """Return a time as it is kept."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def task_id_of(recorded: Recorded) -> str:
    """Return the task whose event it is; empty: no task's."""
    category, _, rest = recorded.envelope.subject.partition(".")
    return rest.partition(".")[2] if category == "task" else ""


def task_key(recorded: Recorded, task_id: str = "") -> str:
    """Return the key of a task's row; without an id, of the task whose event it is."""
    return f"{recorded.envelope.runid}.{task_id or task_id_of(recorded)}"


def keys(recorded: Recorded) -> list[RowKey]:
    """Return the rows of tasks and approvals an event may read or change."""
    event = recorded.event
    found = {task_id_of(recorded), getattr(event, "task_id", ""), getattr(event, "parent_task_id", "")}
    if isinstance(event, PlanProposed):
        found |= {step.task_id for step in event.steps}
    wanted: list[RowKey] = [(TASKS.name, task_key(recorded, task_id)) for task_id in sorted(found) if task_id]
    if isinstance(event, ApprovalChange):
        wanted.append((APPROVALS.name, task_key(recorded, event.approval_id)))
    return wanted


def change_task(rows: Rows, recorded: Recorded, event: TaskChange) -> int:
    """Change the tasks of a run, and return by how many more of the steps of its plans are over."""
    own = task_id_of(recorded)
    match event:
        case TaskAssigned():
            return _assigned(rows, recorded, event)
        case AgentInvokeStarted(sandbox=sandbox):
            return _change(rows, recorded, own, "running", **({"sandbox": sandbox} if sandbox else {}))
        case AgentInvokePaused():
            return _change(rows, recorded, own, "paused")
        case AgentInvokeDone():
            return _change(rows, recorded, own, "done")
        case AgentInvokeFailed(message=message):
            return _change(rows, recorded, own, "failed", message=message)
        case DelegationRequested(task_id=task_id, agent=agent, instruction=instruction):
            _put(rows, recorded, task_id, agent=agent, instruction=instruction, parent=own)
        case PlanProposed(steps=steps):
            ids = {step.id: step.task_id for step in steps}
            for step in steps:
                needs = json.dumps([ids.get(other, other) for other in step.depends_on])
                told = {"agent": step.agent, "instruction": step.action, "parent": own, "step": step.id}
                _put(rows, recorded, step.task_id, **told, depends_on=needs)
        case DelegationRefused(task_id=task_id, message=message):
            return _change(rows, recorded, task_id, "refused", message=message)
        case StepSkipped(task_id=task_id, message=message):
            return _change(rows, recorded, task_id, "skipped", message=message)
        case TaskTimedOut(task_id=task_id, message=message):
            return _change(rows, recorded, task_id, "timed_out", message=message)
    return 0


def _put(rows: Rows, recorded: Recorded, task_id: str, **columns: Any) -> None:
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
        "created_at": at(recorded.envelope.time),
        "ended_at": None,
        "first_position": recorded.position,
        "position": recorded.position,
    }
    rows.put(TASKS.name, key, {**row, **columns})


def _assigned(rows: Rows, recorded: Recorded, event: TaskAssigned) -> int:
    told = {"agent": event.agent, "instruction": event.instruction, "parent": event.parent_task_id, "step": event.step}
    _put(rows, recorded, event.task_id, **told)
    changes = {"attempt": event.attempt, "handoff_from": event.handoff_from, "message": ""}
    return _change(rows, recorded, event.task_id, "assigned", **changes)


def _change(rows: Rows, recorded: Recorded, task_id: str, status: str, **columns: Any) -> int:
    key = task_key(recorded, task_id)
    row = rows.get(TASKS.name, key)
    if row is None:
        return 0
    over = status in OVER
    if row["status"] == "timed_out" and status != "assigned":  # what comes too late changes nothing
        return 0
    ended = {"ended_at": at(recorded.envelope.time) if over else None}
    rows.put(TASKS.name, key, {**row, "status": status, **ended, "position": recorded.position, **columns})
    return int(over) - int(row["status"] in OVER) if row["step"] else 0


def change_approval(rows: Rows, recorded: Recorded, event: ApprovalChange) -> None:
    """Change the row of an approval."""
    key = task_key(recorded, event.approval_id)
    match event:
        case ApprovalRequired():
            task = rows.get(TASKS.name, task_key(recorded))
            rows.put(APPROVALS.name, key, _approval(recorded, event, task["agent"] if task else ""))
        case ApprovalDecision():
            _decide(
                rows,
                key,
                {
                    "status": "approved" if event.approved else "rejected",
                    "decided_at": at(recorded.envelope.time),
                    "decided_by": event.decided_by,
                    "decision_reason": event.reason,
                    "position": recorded.position,
                },
            )
        case ApprovalExpired():
            expired = {"status": "expired", "decided_at": at(recorded.envelope.time), "position": recorded.position}
            _decide(rows, key, expired)


def _decide(rows: Rows, key: str, changes: Row) -> None:
    """Change a row that waits for its decision; the first one counts."""
    row = rows.get(APPROVALS.name, key)
    if row is not None and row["status"] == "pending":
        rows.put(APPROVALS.name, key, {**row, **changes})


def _approval(recorded: Recorded, event: ApprovalRequired, agent: str) -> Row:
    asked = msgspec.structs.asdict(event)
    shown = ("approval_id", "call_id", "title", "preview", "reason", "rule", "content_hash")
    return {
        "approval_key": task_key(recorded, event.approval_id),
        "run_id": recorded.envelope.runid,
        "session_id": recorded.envelope.sessionid,
        "task_id": task_id_of(recorded),
        **{name: asked[name] for name in shown},
        "agent": agent,
        "status": "pending",
        "created_at": at(recorded.envelope.time),
        "expires_at": at(event.expires_at) if event.expires_at else None,
        "decided_at": None,
        "decided_by": "",
        "decision_reason": "",
        "first_position": recorded.position,
        "position": recorded.position,
    }
