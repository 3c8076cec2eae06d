"""Approvals of tool calls: what is requested, and what a decision means for the call."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta

from syntor.agentkit.domain.external_results import ExternalResults
from syntor.agentkit.domain.tool_policy import Verdict
from syntor.contracts.bounds import MAX_LINE, MAX_TEXT, clip
from syntor.contracts.task.v1 import ApprovalApplied, ApprovalRequired, BoundFile, ToolCall, ToolResult

APPROVAL_TTL_S = 7 * 86400.0  # seconds until an approval without a decision expires


def content_hash(name: str, arguments: str, bound: Sequence[BoundFile] = ()) -> str:
    """Return the hash an approval is bound to: SHA-256 of name and arguments, as the model wrote them, and of files."""
    files = "".join(f"\n{each.sha256} {each.path}" for each in bound)
    return hashlib.sha256(f"{name}\n{arguments}{files}".encode()).hexdigest()


def approval_id(task_id: str, call: ToolCall, before: ApprovalRequired | None) -> str:
    """Return the id of an approval: `<task_id>-<call_id>`, with a number behind it when it is requested again."""
    first = f"{task_id}-{call.id}"
    if before is None:
        return first
    number = before.approval_id.removeprefix(f"{first}_r")
    return f"{first}_r{int(number) + 1 if number.isdigit() else 2}"


def approval_required(
    task_id: str,
    call: ToolCall,
    verdict: Verdict,
    *,
    subject: str,
    preview: str,
    at: datetime,
    bound: Sequence[BoundFile] = (),
    before: ApprovalRequired | None = None,
) -> ApprovalRequired:
    """Return the request for a decision about a call.

    Args:
        subject: what the call is about; its first line becomes part of the title.
        preview: what would happen, for people, whole.
        bound: files it is bound to.
        before: earlier request for the same call, which no longer holds.
    """
    line = subject.strip().split("\n", 1)[0]
    return ApprovalRequired(
        approval_id=approval_id(task_id, call, before),
        call_id=call.id,
        title=f"{call.name} {line}"[:200].strip(),
        content_hash=content_hash(call.name, call.arguments, bound),
        preview=clip(preview, MAX_TEXT),
        reason=clip(verdict.reason),
        rule=verdict.rule if len(verdict.rule) <= MAX_LINE else "",
        expires_at=at + timedelta(seconds=APPROVAL_TTL_S),
        bound_files=list(bound),
    )


def apply_decision(required: ApprovalRequired, results: ExternalResults) -> ApprovalApplied | None:
    """Return what was decided about a call, or None while no decision has arrived."""
    decision = results.decisions.get(required.approval_id)
    if decision is None and required.approval_id not in results.expired:
        return None
    approved, reason = False, "no decision in time"
    if decision is not None:
        approved, reason = decision.approved, decision.reason
        if decision.content_hash != required.content_hash:
            approved, reason = False, "the decision was about other content"
    return ApprovalApplied(approval_id=required.approval_id, call_id=required.call_id, approved=approved, reason=reason)


def rejected_result(applied: ApprovalApplied, results: ExternalResults) -> ToolResult:
    """Return the result of a call that was not approved."""
    expired = applied.approval_id in results.expired
    return ToolResult(
        call_id=applied.call_id,
        content=f"not approved: {applied.reason or 'no reason was given'}",
        is_error=True,
        outcome="expired" if expired else "rejected",
    )
