"""Request events, schema version 1. Frozen once released: only optional fields are added."""

from __future__ import annotations

import msgspec

from syntor.contracts.bounds import Id, Line, Message, Name, Position, Text
from syntor.contracts.vocabulary import ApprovalScope, QuestionAction


class CancelRequested(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A client requests the cancellation of the run."""

    reason: Message = ""
    """Reason given by the client."""
    requested_by: Name = ""
    """Name of the client or user."""


class ApprovalDecision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A person or client decided on an approval."""

    approval_id: Id
    """Decided approval; also the subject's last token."""
    approved: bool
    """The decision."""
    content_hash: Line
    """Hash of the content shown; a decision on other content is refused."""
    reason: Message = ""
    """Passed to the agent on a rejection."""
    decided_by: Name = ""
    """Name of the client or user that decided."""
    scope: ApprovalScope = "once"
    """`session`: calls that match `rule` need no further approval in this session."""
    rule: Line = ""
    """Rule that is approved with scope session."""


class ToolResultSubmitted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A client submits the result of a client-side tool."""

    task_id: Id
    """Task that made the call."""
    call_id: Id
    """Call; the subject's last token is `<task_id>-<call_id>`."""
    content: Text
    """Result passed to the model."""
    is_error: bool = False
    """True when the tool failed."""
    submitted_by: Name = ""
    """Name of the client that submitted it."""


class QuestionAnswered(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A person responded to a question, or declined to."""

    question_id: Id
    """Question; also the subject's last token."""
    action: QuestionAction
    """Whether it was answered or declined."""
    text: Text = ""
    """The response; a JSON object where the question has a form."""
    answered_by: Name = ""
    """Name of the client or user that responded."""


class MessageDeadLettered(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message of the run was dead-lettered; the run fails with its cause."""

    stream: Name
    """Stream the message is in."""
    position: Position
    """Its stream sequence; also the last token of this event's subject."""
    subject: Line
    """Its subject."""
    consumer: Name
    """Consumer that dead-lettered it."""
    cause: Message
    """Why."""


RequestEvent = CancelRequested | ApprovalDecision | ToolResultSubmitted | QuestionAnswered | MessageDeadLettered
EVENTS: tuple[type[RequestEvent], ...] = (
    CancelRequested,
    ApprovalDecision,
    ToolResultSubmitted,
    QuestionAnswered,
    MessageDeadLettered,
)
