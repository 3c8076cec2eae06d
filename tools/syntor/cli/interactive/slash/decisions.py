"""Slash commands that decide pending approvals."""

from __future__ import annotations

from syntor.cli.api import Decision
from syntor.cli.interactive.run_stream import StreamedRun
from syntor.cli.interactive.session import Session, SlashCommand
from syntor.contracts.errors import InvalidInputError
from syntor.contracts.visible_text import visible


def approve(session: Session, rest: str) -> None:
    """Approve a pending call."""
    _decide(session, approved=True, rest=rest)


def reject(session: Session, rest: str) -> None:
    """Reject a pending call."""
    _decide(session, approved=False, rest=rest)


def _decide(session: Session, *, approved: bool, rest: str) -> None:
    """Decide a pending approval of this session; `rest` is its id, the reason, or both."""
    pending = session.api.approvals(session_id=session.state.session_id, status="pending").approvals
    first, _, reason = rest.partition(" ")
    chosen = [each for each in pending if each.approval_id == first]
    if not chosen:
        chosen, reason = pending, rest
    if len(chosen) != 1:
        listed = "".join(f"\n  {each.approval_id}  {each.title}" for each in pending)
        count = f"{len(pending)} approvals are pending; name one{listed}"
        raise InvalidInputError(count if pending else "no approval is pending")
    approval = chosen[0]
    decision = Decision(
        approved=approved,
        content_hash=approval.content_hash,
        reason="" if approved else reason,
    )
    session.api.decide(approval.run_id, approval.approval_id, decision)
    print(visible(f"{'approved' if approved else 'rejected'}: {approval.title}"))
    session.follow(StreamedRun(approval.run_id, lambda: approval.session_id))


COMMANDS = (
    SlashCommand("approve", "approve a pending tool call; with an id if several are pending", approve),
    SlashCommand("reject", "reject it; the rest of the line is the reason", reject),
)
