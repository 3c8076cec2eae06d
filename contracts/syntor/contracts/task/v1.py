"""Task events, schema version 1. Frozen once released: only optional fields are added."""

from __future__ import annotations

from datetime import datetime

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
    resume: int = 0
    """Resume number of the assignment it answers."""
    sandbox: str = ""
    """How commands run here: `bubblewrap`, or `limits` and why no sandbox could be had; empty: none runs."""


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
    """JSON object with its arguments; empty: as in the `llm_call_done` that asked for it."""


class PolicyDecision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the tool policy said to a call."""

    call_id: str
    """Call judged."""
    decision: str
    """allow, require_approval or deny."""
    reason: str = ""
    """Rule that decided."""


class ApprovalRequired(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A call waits for somebody's decision."""

    approval_id: str
    """`<task_id>-<call_id>`, unique within the run."""
    call_id: str
    """Call that waits."""
    title: str
    """What is asked, one line."""
    content_hash: str
    """SHA-256 of exactly what is asked; a decision names it, so that nothing else is approved."""
    preview: str = ""
    """What would happen, for people: a command, a diff; at most 4,000 characters."""
    reason: str = ""
    """Rule that asks."""
    rule: str = ""
    """Rule that would allow calls like this one, for "always"; empty: none is offered."""
    expires_at: datetime | None = None
    """Instant after which it counts as rejected."""


class ApprovalApplied(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The agent took a decision in; it is never applied again."""

    approval_id: str
    """Approval decided on."""
    call_id: str
    """Call that waited."""
    approved: bool
    """False: rejected or expired."""
    reason: str = ""
    """Why not."""


class ToolRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tool of the client is called; the client submits its result, once."""

    call_id: str
    """Call, unique within the task."""
    name: str
    """Tool, as the client registered it."""
    arguments: str = "{}"
    """JSON object with its arguments."""
    expires_at: datetime | None = None
    """Instant after which the call counts as failed."""


class PlanStep(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step of a plan."""

    id: str
    """Unique within the plan."""
    agent: str
    """Agent that does it."""
    queue: str
    """Queue of that agent."""
    action: str
    """What to do."""
    depends_on: list[str] = []
    """Steps that must be done before; their results are given to it."""
    task_id: str = ""
    """Task it becomes."""


class PlanProposed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An agent made a plan; its steps become tasks as soon as what they depend on is done."""

    call_id: str
    """Tool call that made it."""
    summary: str
    """What it is for, one line."""
    steps: list[PlanStep] = []
    """In the order they were named."""


class DelegationRequested(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An agent wants another one to do something, or to take the conversation over."""

    call_id: str
    """Tool call that asked."""
    task_id: str
    """Task it becomes: `<task_id>-<call_id>`."""
    agent: str
    """Agent asked for."""
    queue: str
    """Queue of that agent."""
    instruction: str
    """What to do."""
    handoff: bool = False
    """True: the other agent takes over, and its answer is this task's; False: its result comes back."""


class Wait(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something a paused task waits for."""

    kind: str
    """approval, tool or task."""
    id: str
    """Approval id, `<task_id>-<call_id>` of a client's tool, or task id."""
    expires_at: datetime | None = None
    """Instant after which it is not waited for any more."""


class AgentInvokePaused(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The agent put the task down; it goes on, on any instance, once what it waits for is there."""

    waits: list[Wait]
    """What it waits for."""
    attempt: int = 1
    """Attempt of the assignment it answers."""
    resume: int = 0
    """Resume number of the assignment it answers."""


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
    outcome: str = ""
    """Empty: it ended here. refused, rejected, expired, unknown (it may have run; nobody knows), or submitted."""


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
    | ApprovalRequired
    | ApprovalApplied
    | ToolRequest
    | PlanProposed
    | DelegationRequested
    | AgentInvokePaused
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
    ApprovalRequired,
    ApprovalApplied,
    ToolRequest,
    PlanProposed,
    DelegationRequested,
    AgentInvokePaused,
    ToolDispatched,
    ToolResult,
    AgentInvokeDone,
    AgentInvokeFailed,
)
