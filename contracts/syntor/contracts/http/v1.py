"""Response bodies of the HTTP API, version 1, that are not replies of a service. Only optional fields are added.

Read models and agents are returned as the views of `rpc.v1`, unchanged.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from syntor.contracts.bounds import MAX_ITEMS, Id, Ids, Line, Message, Name, Names, Position, Text, Tokens
from syntor.contracts.request.v1 import ApprovalDecision, QuestionAnswered
from syntor.contracts.rpc.v1 import Cuts
from syntor.contracts.task.v1 import PromptPart

HttpStatus = Annotated[int, Meta(ge=100, le=599)]
"""Status code of a response."""


class Accepted(msgspec.Struct, frozen=True):
    """A run whose first event is stored."""

    run_id: Id
    session_id: Id
    position: Position
    """Stream sequence of its first event."""


class Invoked(msgspec.Struct, frozen=True):
    """Response of POST /internal/invoke."""

    run_id: Id
    session_id: Id
    agent_id: Id


class CancelAccepted(msgspec.Struct, frozen=True):
    """A cancellation request that is stored."""

    run_id: Id
    position: Position
    """Stream sequence of the request."""


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """An approval as the log has it."""

    run_id: Id
    task_id: Id
    approval_id: Id
    title: Line
    preview: Text
    reason: Message
    """Rule that requires the approval."""
    rule: Line
    """Rule that would allow calls like this one; empty: none is offered."""
    content_hash: Line
    """To be sent with the decision."""
    expires_at: datetime | None
    decision: ApprovalDecision | None
    """None: not decided."""
    position: Position
    """Stream sequence of its `approval_required`."""


class AskedQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """A question of a run to a person, as the log has it."""

    run_id: Id
    task_id: Id
    question_id: Id
    text: Message
    asked_by: Name
    """Who asks: an agent, or `mcp:` and a server."""
    choices: Annotated[list[Line], Meta(max_length=100)]
    other: bool
    """Whether a response that is no choice is accepted."""
    form: Message
    """JSON schema of the values to submit; empty: a text is."""
    expires_at: datetime | None
    answer: QuestionAnswered | None
    """None: not closed."""
    position: Position
    """Stream sequence of its `question_asked`."""


class QuestionPage(msgspec.Struct, frozen=True, kw_only=True):
    """Questions of a run, oldest first."""

    questions: Annotated[list[AskedQuestion], Meta(max_length=1000)]


class SubmissionAccepted(msgspec.Struct, frozen=True, kw_only=True):
    """A decision, a response to a question or the result of a client tool that is stored."""

    run_id: Id
    id: Id
    """Approval, question, or `<task_id>-<call_id>` of a tool call."""
    position: Position
    """Stream sequence of the submission."""


class Forked(msgspec.Struct, frozen=True, kw_only=True):
    """A session that continues another one."""

    session_id: Id
    forked_from: Id
    history: Ids
    """Runs it begins with, oldest first."""
    position: Position
    """Stream sequence of its first event."""


class Rewound(msgspec.Struct, frozen=True, kw_only=True):
    """A session that was rewound."""

    session_id: Id
    hidden: Ids
    """Runs whose messages are not part of the conversation any more."""
    undone: Ids
    """Runs whose changes to files are taken back."""
    position: Position
    """Stream sequence of the rewind."""


class ToolsRegistered(msgspec.Struct, frozen=True, kw_only=True):
    """Client tools that the agents of a session may call from their next task on."""

    session_id: Id
    tools: Names
    position: Position


class EventPage(msgspec.Struct, frozen=True, kw_only=True):
    """Events of a run, oldest first."""

    events: Annotated[list[msgspec.Raw], Meta(max_length=MAX_ITEMS)]
    """Each an envelope with its `position`."""
    next_after: Position | None
    """`after` of the next page; None: no more."""


class SessionContext(msgspec.Struct, frozen=True, kw_only=True):
    """What the newest prompt of a session held."""

    session_id: Id
    run_id: Id
    model: Name
    """`provider/name` that it went to."""
    window_tokens: Tokens
    """Tokens of the model's context that may be used."""
    prompt_tokens: Tokens
    """Estimated tokens of the prompt."""
    input_tokens: Tokens
    """Tokens the provider counted; 0: it did not, or the call has not ended."""
    cached_input_tokens: Tokens
    """Those of them it read from its cache."""
    parts: Annotated[list[PromptPart], Meta(max_length=100)]
    """In the order of the prompt; what was left out has no tokens."""
    position: Position
    """Position of the call."""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A dead-lettered message, as listings show it."""

    number: Position
    """Its stream sequence in SYNTOR_DLQ; identifies the dead letter."""
    stream: Name
    """Stream that holds the original message."""
    position: Position
    """Stream sequence of the original message."""
    subject: Line
    """Subject of the original message."""
    consumer: Name
    """Durable consumer, or service, that dead-lettered it."""
    cause: Message
    """Text of the error that the last attempt to handle it ended with."""
    dead_lettered_at: Name
    """When it was stored in SYNTOR_DLQ, RFC 3339."""
    payload: Text
    """Payload as text; bytes that are not UTF-8 are replaced, and it is empty when it was too large.
    In a list at most its first 16,000 characters."""
    cut: Cuts = {}


class DeadLetterPage(msgspec.Struct, frozen=True, kw_only=True):
    """Dead letters, newest first."""

    letters: Annotated[list[DeadLetter], Meta(max_length=MAX_ITEMS)]
    cursor: Position | None
    """`cursor` of the next page; None: no more."""


class FieldFault(msgspec.Struct, frozen=True):
    """One invalid field of a request."""

    field: Line
    """Dotted path in the body, or name of the query parameter; empty for the whole body."""
    message: Message
    """What was expected and what was found."""


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Body of an error response, RFC 9457."""

    type: Line
    title: Line
    status: HttpStatus
    detail: Message
    instance: Message
    """Path of the request."""
    code: Name
    """Stable and machine readable."""
    trace_id: Id
    errors: Annotated[list[FieldFault], Meta(max_length=MAX_ITEMS)] = []
    log_end: Position | None = None
    """Last position there is, where the request names a later one."""
