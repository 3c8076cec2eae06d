"""Response bodies of the HTTP API, version 1, that are not replies of a service. Only optional fields are added.

Read models and agents are returned as the views of `rpc.v1`, unchanged.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from syntor.contracts.request.v1 import ApprovalDecision


class Accepted(msgspec.Struct, frozen=True):
    """A run whose first event is stored."""

    run_id: str
    session_id: str
    position: int
    """Stream sequence of its first event."""


class Invoked(msgspec.Struct, frozen=True):
    """Response of POST /internal/invoke."""

    run_id: str
    session_id: str
    agent_id: str


class CancelAccepted(msgspec.Struct, frozen=True):
    """A cancellation request that is stored."""

    run_id: str
    position: int
    """Stream sequence of the request."""


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """An approval as the log has it."""

    run_id: str
    task_id: str
    approval_id: str
    title: str
    preview: str
    reason: str
    """Rule that requires the approval."""
    rule: str
    """Rule that would allow calls like this one; empty: none is offered."""
    content_hash: str
    """To be sent with the decision."""
    expires_at: datetime | None
    decision: ApprovalDecision | None
    """None: not decided."""
    position: int
    """Stream sequence of its `approval_required`."""


class SubmissionAccepted(msgspec.Struct, frozen=True, kw_only=True):
    """A decision or the result of a client tool that is stored."""

    run_id: str
    id: str
    """Approval, or `<task_id>-<call_id>` of a tool call."""
    position: int
    """Stream sequence of the submission."""


class Forked(msgspec.Struct, frozen=True, kw_only=True):
    """A session that continues another one."""

    session_id: str
    forked_from: str
    history: list[str]
    """Runs it begins with, oldest first."""
    position: int
    """Stream sequence of its first event."""


class ToolsRegistered(msgspec.Struct, frozen=True, kw_only=True):
    """Client tools that the agents of a session may call from their next task on."""

    session_id: str
    tools: list[str]
    position: int


class EventPage(msgspec.Struct, frozen=True, kw_only=True):
    """Events of a run, oldest first."""

    events: list[msgspec.Raw]
    """Each an envelope with its `position`."""
    next_after: int | None
    """`after` of the next page; None: no more."""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A dead-lettered message, as listings show it."""

    number: int
    """Its stream sequence in SYNTOR_DLQ; identifies the dead letter."""
    stream: str
    """Stream that holds the original message."""
    position: int
    """Stream sequence of the original message."""
    subject: str
    """Subject of the original message."""
    consumer: str
    """Durable consumer, or service, that dead-lettered it."""
    cause: str
    """Text of the error that the last attempt to handle it ended with."""
    dead_lettered_at: str
    """When it was stored in SYNTOR_DLQ, RFC 3339."""
    payload: str
    """Payload as text; bytes that are not UTF-8 are replaced, and it is empty when it was too large."""


class DeadLetterPage(msgspec.Struct, frozen=True, kw_only=True):
    """Dead letters, newest first."""

    letters: list[DeadLetter]
    cursor: int | None
    """`cursor` of the next page; None: no more."""


class FieldFault(msgspec.Struct, frozen=True):
    """One invalid field of a request."""

    field: str
    """Dotted path in the body, or name of the query parameter; empty for the whole body."""
    message: str
    """What was expected and what was found."""


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Body of an error response, RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    """Path of the request."""
    code: str
    """Stable and machine readable."""
    trace_id: str
    errors: list[FieldFault] = []
