"""Task events, schema version 1. Frozen once released: only optional fields are added."""

from __future__ import annotations

import msgspec


class Usage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What model calls used."""

    input_tokens: int = 0
    """Prompt tokens, cached ones included."""
    output_tokens: int = 0
    """Generated tokens."""
    cached_input_tokens: int = 0
    """Prompt tokens the provider read from its cache."""
    cost_microusd: int = 0
    """Money, in millionths of a US dollar; 0 for a local model."""


class ToolCall(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tool call a model asked for."""

    id: str
    """Call id, unique within the task."""
    name: str
    """Tool name."""
    arguments: str = "{}"
    """JSON object, as the model wrote it; may be malformed."""


class AgentInvokeStarted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An instance took the task and begins."""

    agent: str
    """Agent id."""
    instance: str
    """Id of the process that took it."""
    attempt: int = 1
    """Attempt of the assignment it answers."""


class LlmCallStarted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A model is about to be called."""

    call: int
    """Number of the call within the task, from 1."""
    provider: str
    """Provider that is asked."""
    model: str
    """Model name, as the provider knows it."""
    message_count: int = 0
    """Messages in the prompt."""
    tool_names: list[str] = []
    """Tools offered, in order."""


class LlmCallDone(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A model answered; it is never called again for the same number."""

    call: int
    """Number of the call within the task."""
    text: str = ""
    """The whole text it said."""
    tool_calls: list[ToolCall] = []
    """Tools it asks for, in order."""
    finish_reason: str = "stop"
    """stop, length, tool_calls or content_filter."""
    usage: Usage = Usage()
    """What the call used."""
    duration_s: float = 0.0
    """Seconds from request to last byte."""
    first_token_s: float | None = None
    """Seconds from request to first text or tool call; None: nothing was said."""
    provider: str = ""
    """Provider that answered (a fallback may differ from the one started)."""
    model: str = ""
    """Model that answered."""


class LlmCallFailed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A model call ended without an answer."""

    call: int
    """Number of the call within the task."""
    code: str
    """Stable reason: `model_unavailable`, `rate_limited`, `context_exceeded`, ..."""
    message: str
    """Reason for people, with the fix where there is one."""
    duration_s: float = 0.0
    """Seconds until it failed."""


class ToolCallCreated(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tool call of the model was accepted for the policy to judge."""

    call_id: str
    """Call id, unique within the task."""
    name: str
    """Tool name."""
    arguments: str = "{}"
    """JSON object with its arguments."""


class PolicyDecision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the tool policy said to a call."""

    call_id: str
    """Call judged."""
    decision: str
    """allow, require_approval or deny."""
    reason: str = ""
    """Rule that decided."""


class ToolDispatched(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tool is about to run; from here on it may have happened."""

    call_id: str
    """Call that runs."""


class ToolResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tool ended; it is never run again for the same call."""

    call_id: str
    """Call that ended."""
    content: str
    """What the model is told."""
    is_error: bool = False
    """True when the tool failed or was refused."""
    duration_s: float = 0.0
    """Seconds it ran."""


class AgentInvokeDone(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The task is done."""

    final_message: str
    """The answer."""
    usage: Usage = Usage()
    """Sum over the task's model calls."""
    llm_calls: int = 0
    """Model calls made."""
    tool_calls: int = 0
    """Tool calls made."""


class AgentInvokeFailed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The task ended without an answer."""

    code: str
    """Stable reason: `model_unavailable`, `cancelled`, `timeout`, `tool_rounds_exceeded`, ..."""
    message: str
    """Reason for people, with the fix where there is one."""
    retryable: bool = False
    """True when another attempt may succeed."""
    partial_message: str = ""
    """What had been said when it ended."""
    usage: Usage = Usage()
    """Sum over the task's model calls."""


TaskEvent = (
    AgentInvokeStarted
    | LlmCallStarted
    | LlmCallDone
    | LlmCallFailed
    | ToolCallCreated
    | PolicyDecision
    | ToolDispatched
    | ToolResult
    | AgentInvokeDone
    | AgentInvokeFailed
)
EVENTS: tuple[type[TaskEvent], ...] = (
    AgentInvokeStarted,
    LlmCallStarted,
    LlmCallDone,
    LlmCallFailed,
    ToolCallCreated,
    PolicyDecision,
    ToolDispatched,
    ToolResult,
    AgentInvokeDone,
    AgentInvokeFailed,
)
