"""Rows of the read model as the views of the contracts."""

from __future__ import annotations

import json
from datetime import datetime

from syntor.contracts.rpc.v1 import ApprovalView, Cut, MessageView, RunView, SessionView, TaskView
from syntor.contracts.task.v1 import Usage
from syntor.projections.projection import Row
from syntor.projector.domain import parts


def usage(row: Row) -> Usage:
    """Return the usage in a row."""
    return Usage(**{name: int(row[name] or 0) for name in Usage.__struct_fields__})


def run(row: Row, whole: str, *, listed: bool = False) -> RunView:
    """Return a run.

    Args:
        whole: path that has its texts whole.
        listed: it is one of many: large metadata is left out.
    """
    cut = parts.cuts(row, ("input", "final_message"), whole)
    labels = row["metadata"]
    if listed and len(labels) > parts.LABELS_CHARACTERS:
        cut["metadata"], labels = Cut(size=len(labels), whole=whole), "{}"
    return RunView(
        run_id=row["run_id"],
        session_id=row["session_id"],
        agent=row["agent"],
        status=row["status"],
        input=row["input"],
        final_message=row["final_message"],
        error_code=row["error_code"],
        error_message=row["error_message"],
        model=row["model"],
        correlation_id=row["correlation_id"],
        metadata=json.loads(labels),
        created_at=_time(row["created_at"]),
        started_at=_time(row["started_at"]) if row["started_at"] else None,
        ended_at=_time(row["ended_at"]) if row["ended_at"] else None,
        usage=usage(row),
        llm_calls=row["llm_calls"],
        tool_calls=row["tool_calls"],
        first_position=row["first_position"],
        position=row["position"],
        retry_of=row["retry_of"],
        steps=row["steps"],
        steps_completed=row["steps_completed"],
        not_applied=row["not_applied"],
        cut=cut,
    )


def task(row: Row) -> TaskView:
    """Return a task."""
    return TaskView(
        **{name: row[name] for name in ("task_id", "agent", "status", "instruction", "parent", "step", "handoff_from")},
        depends_on=json.loads(row["depends_on"]),
        attempt=row["attempt"],
        message=row["message"],
        sandbox=row["sandbox"],
        created_at=_time(row["created_at"]),
        ended_at=_time(row["ended_at"]) if row["ended_at"] else None,
        cut=parts.cuts(row, ("instruction",), f"/v1/runs/{row['run_id']}/events"),
    )


def approval(row: Row) -> ApprovalView:
    """Return an approval."""
    shown = (
        *("run_id", "session_id", "task_id", "approval_id", "agent", "title", "preview", "reason", "rule"),
        *("content_hash", "decided_by", "decision_reason", "position"),
    )
    return ApprovalView(
        **{name: row[name] for name in shown},
        status=row["shown_status"],
        created_at=_time(row["created_at"]),
        expires_at=_time(row["expires_at"]) if row["expires_at"] else None,
        decided_at=_time(row["decided_at"]) if row["decided_at"] else None,
        cut=parts.cuts(row, ("preview",), f"/v1/runs/{row['run_id']}/approvals/{row['approval_id']}"),
    )


def session(row: Row) -> SessionView:
    """Return a session."""
    return SessionView(
        session_id=row["session_id"],
        title=row["title"],
        agent=row["agent"],
        runs=row["runs"],
        messages=row["messages"],
        created_at=_time(row["created_at"]),
        updated_at=_time(row["updated_at"]),
        last_run_id=row["last_run_id"],
        usage=usage(row),
        position=row["position"],
        forked_from=row["forked_from"],
        forked_history=json.loads(row["forked_history"]),
        hidden=json.loads(row["hidden"]),
        undone=json.loads(row["undone"]),
        undone_before=json.loads(row["undone_before"]),
    )


def message(row: Row) -> MessageView:
    """Return a message; its event has it whole."""
    return MessageView(
        position=row["position"],
        run_id=row["run_id"],
        role=row["role"],
        agent=row["agent"],
        content=row["content"],
        status=row["status"],
        created_at=_time(row["created_at"]),
        cut=parts.cuts(row, ("content",), f"/v1/runs/{row['run_id']}/events?after={row['position'] - 1}&limit=1"),
    )


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
