"""Request events, schema version 1. Frozen once released: only optional fields are added."""

from __future__ import annotations

import msgspec


class CancelRequested(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Somebody wants the run stopped."""

    reason: str = ""
    """Their words."""
    requested_by: str = ""
    """Who: a client's name or user."""


class ApprovalDecision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Somebody decided on an approval."""

    approval_id: str
    """Approval decided on."""
    approved: bool
    """The decision."""
    content_hash: str
    """Hash of what was shown; a decision on other content is refused."""
    reason: str = ""
    """Told to the agent on a rejection."""
    decided_by: str = ""
    """Who decided."""


RequestEvent = CancelRequested | ApprovalDecision
EVENTS: tuple[type[RequestEvent], ...] = (CancelRequested, ApprovalDecision)
