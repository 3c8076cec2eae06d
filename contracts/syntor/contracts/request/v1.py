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
    """Approval decided on; also the subject's last token."""
    approved: bool
    """The decision."""
    content_hash: str
    """Hash of what was shown; a decision on other content is refused."""
    reason: str = ""
    """Told to the agent on a rejection."""
    decided_by: str = ""
    """Who decided."""
    scope: str = "once"
    """once, or session: calls that fit `rule` need no approval in this session any more."""
    rule: str = ""
    """Rule that is approved with scope session."""


class ToolResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A client submits the result of a tool of its own."""

    task_id: str
    """Task that called."""
    call_id: str
    """Call; the subject's last token is `<task_id>-<call_id>`."""
    content: str
    """What the model is told."""
    is_error: bool = False
    """True when the tool failed."""
    submitted_by: str = ""
    """Who submitted it."""


class ClientTool(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tool that runs at the client."""

    name: str
    """Name, unlike any built-in tool's."""
    description: str
    """What it does, for the model."""
    parameters: str = "{}"
    """JSON schema of its arguments, as JSON text."""


class ClientToolsRegistered(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A client offers tools to the agents of a session; the subject's id is the session's. Replaces earlier ones."""

    tools: list[ClientTool] = []
    """All tools it offers now."""
    registered_by: str = ""
    """Who offers them."""


class SessionForked(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """First event of a session that goes on from another one's messages; the subject's id is the new session's."""

    session_id: str
    """Session it is forked from."""
    history: list[str] = []
    """Runs whose messages it begins with, oldest first."""
    at: int = 0
    """Stream sequence it was forked at: the runs that had ended by then."""
    agent: str = ""
    """Agent that answered last."""
    title: str = ""
    """Title of the session it is forked from."""
    forked_by: str = ""
    """Who forked it."""


class MessageParked(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A service gave a message of the run up: it is in the dead letters, and the run cannot go on as it should."""

    stream: str
    """Stream the message is in."""
    position: int
    """Its stream sequence; also the subject's last token."""
    subject: str
    """Its subject."""
    consumer: str
    """Who gave it up."""
    cause: str
    """Why."""


RequestEvent = CancelRequested | ApprovalDecision | ToolResult | ClientToolsRegistered | SessionForked | MessageParked
EVENTS: tuple[type[RequestEvent], ...] = (
    CancelRequested,
    ApprovalDecision,
    ToolResult,
    ClientToolsRegistered,
    SessionForked,
    MessageParked,
)
