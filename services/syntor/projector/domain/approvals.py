"""The table of approvals."""

from __future__ import annotations

from syntor.contracts.request.v1 import ApprovalDecision
from syntor.contracts.run.v1 import ApprovalExpired
from syntor.contracts.task.v1 import ApprovalRequired
from syntor.eventsourcing.store import Recorded
from syntor.projections.projection import Row, RowKey, Rows, Table
from syntor.projector.domain.columns import INTEGER, TEXT, timestamp
from syntor.projector.domain.tasks import agent_of, task_id_of

APPROVALS = Table(
    "approvals",
    {
        "approval_key": TEXT, "run_id": TEXT, "session_id": TEXT, "task_id": TEXT, "approval_id": TEXT,
        "call_id": TEXT, "agent": TEXT, "title": TEXT, "preview": TEXT, "reason": TEXT, "rule": TEXT,
        "content_hash": TEXT, "status": TEXT, "created_at": TEXT, "expires_at": TEXT, "decided_at": TEXT,
        "decided_by": TEXT, "decision_reason": TEXT, "first_position": INTEGER, "position": INTEGER,
    },
    indexes=(("run_id",), ("status",)),
)  # fmt: skip


def keys(recorded: Recorded) -> list[RowKey]:
    """Return the approval whose row an event may read or change."""
    match recorded.event:
        case ApprovalRequired() | ApprovalDecision() | ApprovalExpired() as event:
            return [(APPROVALS.name, _key(recorded, event.approval_id))]
        case _:
            return []


def apply(rows: Rows, recorded: Recorded) -> None:
    """Change the row of an approval by one event."""
    match recorded.event:
        case ApprovalRequired() as event:
            required = _required(recorded, event, agent_of(rows, recorded))
            rows.put(APPROVALS.name, required["approval_key"], required)
        case ApprovalDecision(approval_id=approval_id, approved=approved, decided_by=decided_by, reason=reason):
            status = "approved" if approved else "rejected"
            _decide(
                rows, recorded, approval_id, {"status": status, "decided_by": decided_by, "decision_reason": reason}
            )
        case ApprovalExpired(approval_id=approval_id):
            _decide(rows, recorded, approval_id, {"status": "expired"})
        case _:
            return


def _key(recorded: Recorded, approval_id: str) -> str:
    return f"{recorded.envelope.runid}.{approval_id}"


def _decide(rows: Rows, recorded: Recorded, approval_id: str, decision: Row) -> None:
    """Record a decision about a pending approval; only the first one counts."""
    key = _key(recorded, approval_id)
    row = rows.get(APPROVALS.name, key)
    if row is not None and row["status"] == "pending":
        decided_at = timestamp(recorded.envelope.time)
        rows.put(APPROVALS.name, key, {**row, **decision, "decided_at": decided_at, "position": recorded.position})


def _required(recorded: Recorded, event: ApprovalRequired, agent: str) -> Row:
    return {
        "approval_key": _key(recorded, event.approval_id),
        "run_id": recorded.envelope.runid,
        "session_id": recorded.envelope.sessionid,
        "task_id": task_id_of(recorded),
        "approval_id": event.approval_id,
        "call_id": event.call_id,
        "title": event.title,
        "preview": event.preview,
        "reason": event.reason,
        "rule": event.rule,
        "content_hash": event.content_hash,
        "agent": agent,
        "status": "pending",
        "created_at": timestamp(recorded.envelope.time),
        "expires_at": timestamp(event.expires_at) if event.expires_at else None,
        "decided_at": None,
        "decided_by": "",
        "decision_reason": "",
        "first_position": recorded.position,
        "position": recorded.position,
    }
