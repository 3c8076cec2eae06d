"""Task events, schema version 1. Frozen once released: only optional fields are added."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from syntor.contracts.bounds import (
    Bytes,
    CostMicrousd,
    Count,
    Id,
    Ids,
    Line,
    Message,
    Name,
    Names,
    Position,
    Seconds,
    Text,
    Time,
    Tokens,
)
from syntor.contracts.vocabulary import (
    CheckpointMoment,
    FinishReason,
    LeftOutReason,
    PolicyOutcome,
    ToolOutcome,
    WaitKind,
)


class Usage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What model calls used."""

    input_tokens: Tokens = 0
    """Prompt tokens, cached ones included."""
    output_tokens: Tokens = 0
    """Generated tokens."""
    cached_input_tokens: Tokens = 0
    """Prompt tokens the provider read from its cache."""
    cost_microusd: CostMicrousd = 0
    """Cost, in millionths of a US dollar; 0 for a local model."""


class ToolCall(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tool call requested by a model."""

    id: Id
    """Call id, unique within the task."""
    name: Line
    """Tool name."""
    arguments: Text = "{}"
    """JSON object, as the model wrote it; may be malformed."""
    provider_id: Text = ""
    """Id the provider gave the call, which it gets back; empty: `id`."""
    extra: Text = ""
    """Other fields of the call that the provider gets back as it sent them (thought signatures), a JSON object."""


class AgentInvokeStarted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An instance of the agent starts work on the task."""

    agent: Id
    """Agent id."""
    instance: Id
    """Id of the process that works on it."""
    attempt: Count = 1
    """Attempt of the assignment it responds to."""
    resume: Count = 0
    """Resume number of the assignment it responds to."""
    sandbox: Line = ""
    """How commands run: `bubblewrap`, or `limits` and why there is no sandbox; empty: it runs none."""


class PromptPart(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One part of a prompt."""

    name: Line
    """What it is: the agent's own prompt, a file, earlier turns, tools, ..."""
    tokens: Tokens = 0
    """Its estimated tokens; 0 for what was left out."""
    note: Line = ""
    """Details: size and digest of a file, how many turns."""


class LlmCallStarted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A model is about to be called."""

    call: Count
    """Number of the call within the task, from 1."""
    provider: Name
    """Provider the request goes to."""
    model: Name
    """Model name, as the provider knows it."""
    message_count: Count = 0
    """Messages in the prompt."""
    tool_names: Names = []
    """Tools offered, in order."""
    purpose: Name = ""
    """`summary`: it summarises earlier turns; empty: it works on the task."""
    window_tokens: Tokens = 0
    """Tokens of the model's context the call may use; 0: not known."""
    context: Annotated[list[PromptPart], Meta(max_length=100)] = []
    """What the prompt holds, in its order, and what was left out; empty: not recorded."""


class LlmCallDone(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A model call completed; a call with the same number is never made again."""

    call: Count
    """Number of the call within the task."""
    text: Text = ""
    """The whole text of the completion."""
    tool_calls: Annotated[list[ToolCall], Meta(max_length=1000)] = []
    """Tool calls it requests, in order."""
    finish_reason: FinishReason = "stop"
    """Why the model stopped."""
    usage: Usage = Usage()
    """What the call used."""
    duration_s: Seconds = 0.0
    """Seconds from request to last byte."""
    first_token_s: Seconds | None = None
    """Seconds from request to first text or tool call; None: the completion is empty."""
    provider: Name = ""
    """Provider that responded (a fallback may differ from the one started)."""
    model: Name = ""
    """Model that responded."""
    extra: Text = ""
    """Fields of the message that the provider gets back as it sent them (reasoning), a JSON object; empty: none."""


class LlmCallFailed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A model call failed."""

    call: Count
    """Number of the call within the task."""
    code: Name
    """Stable reason: `model_unavailable`, `rate_limited`, `context_exceeded`, ..."""
    message: Message
    """Reason for people, with the fix where there is one."""
    duration_s: Seconds = 0.0
    """Seconds until it failed."""


class ToolCallCreated(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tool call of the model is recorded before the policy evaluates it."""

    call_id: Id
    """Call id, unique within the task."""
    name: Line
    """Tool name."""
    arguments: Text = "{}"
    """JSON object with its arguments; empty: as in the `llm_call_done` that requested it."""


class PolicyDecision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Decision of the tool policy on a call."""

    call_id: Id
    """Evaluated call."""
    decision: PolicyOutcome
    """The policy's outcome."""
    reason: Message = ""
    """Rule that decided."""


class BoundFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file an approval is bound to: with another content, the call needs another approval."""

    path: Line
    """Relative to the workspace; absolute outside it."""
    sha256: Line = ""
    """SHA-256 of its content when the approval was requested; empty: there was no such file."""


class ApprovalRequired(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tool call waits for a decision on its approval."""

    approval_id: Id
    """`<task_id>-<call_id>`, unique within the run."""
    call_id: Id
    """Call that waits."""
    title: Line
    """What needs approval, one line."""
    content_hash: Line
    """SHA-256 of the exact call and its bound files; a decision names it, so that nothing else is approved."""
    preview: Text = ""
    """What would happen, for people: a command, a diff; whole."""
    reason: Message = ""
    """Rule or mode that requires the approval, and the part of a command it is about."""
    rule: Line = ""
    """Rule that would allow calls like this one, for "always"; empty: none is offered."""
    expires_at: Time | None = None
    """Instant after which it counts as rejected."""
    bound_files: Annotated[list[BoundFile], Meta(max_length=1000)] = []
    """Files the call writes or runs as programs; the approval is for their content as it was."""


class ApprovalApplied(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The agent applied a decision; it is never applied again."""

    approval_id: Id
    """Decided approval."""
    call_id: Id
    """Call that waited."""
    approved: bool
    """False: rejected or expired."""
    reason: Message = ""
    """Why not, when it was rejected."""


class ToolRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A client-side tool is called; the client submits its result once."""

    call_id: Id
    """Call, unique within the task."""
    name: Line
    """Tool, as the client registered it."""
    arguments: Text = "{}"
    """JSON object with its arguments."""
    expires_at: Time | None = None
    """Instant after which the call counts as failed."""


class QuestionAsked(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tool call asks a person something; once the question is closed, the call is made again with the response."""

    question_id: Id
    """`<task_id>-<call_id>`, with a suffix for further questions of the call; unique within the run."""
    call_id: Id
    """Call that asks."""
    text: Message
    """The question, for people."""
    asked_by: Name = ""
    """Who asks: an agent, or `mcp:` and a server."""
    choices: Annotated[list[Line], Meta(max_length=100)] = []
    """Responses to choose from; empty: none are offered."""
    other: bool = True
    """Whether a response that is no choice is accepted."""
    form: Message = ""
    """JSON schema of an object with simple properties, whose values are the response; empty: a text is."""
    expires_at: Time | None = None
    """Instant after which it counts as declined."""


class PlanStep(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step of a plan."""

    id: Id
    """Unique within the plan."""
    agent: Id
    """Agent that does it."""
    queue: Id
    """Queue of that agent."""
    action: Text
    """What to do."""
    depends_on: Ids = []
    """Steps it depends on; their results are passed to it."""
    task_id: Id = ""
    """Task it becomes."""


class PlanProposed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An agent proposed a plan; each step becomes a task once its dependencies are done."""

    call_id: Id
    """Tool call that proposed it."""
    summary: Line
    """Its purpose, one line."""
    steps: Annotated[list[PlanStep], Meta(max_length=1000)] = []
    """In the order proposed."""


class DelegationRequested(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An agent delegates a task to another agent, or hands the conversation over to it."""

    call_id: Id
    """Tool call that requested it."""
    task_id: Id
    """Task it becomes: `<task_id>-<call_id>`."""
    agent: Id
    """Requested agent."""
    queue: Id
    """Queue of that agent."""
    instruction: Text
    """What to do."""
    handoff: bool = False
    """True: the other agent takes over, and its answer is this task's; False: its result comes back."""


class Wait(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something a suspended task waits for."""

    kind: WaitKind
    """What kind of thing it waits for."""
    id: Id
    """Approval id, `<task_id>-<call_id>` of a client's tool, question id, or task id."""
    expires_at: Time | None = None
    """Instant at which waiting ends."""


class HistoryCompacted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The oldest turns of the session were summarised; later prompts hold the summary in their place."""

    summary: Message
    """What the model wrote about the turns, and about what an earlier summary said."""
    last_run: Id
    """Newest run it covers; runs before it in the session are covered too."""
    from_position: Position = 0
    """Stream sequence of the first event it covers directly."""
    to_position: Position = 0
    """Stream sequence of the last event it covers; the originals stay in the log."""
    turns: Count = 0
    """Turns it covers directly."""
    tokens_before: Tokens = 0
    """Estimated tokens of the conversation before."""
    tokens_after: Tokens = 0
    """Estimated tokens after."""
    automatic: bool = True
    """False: a person requested it."""


class AgentInvokePaused(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The agent suspended the task; any instance resumes it once what it waits for has arrived."""

    waits: Annotated[list[Wait], Meta(max_length=1000)]
    """What it waits for."""
    attempt: Count = 1
    """Attempt of the assignment it responds to."""
    resume: Count = 0
    """Resume number of the assignment it responds to."""


class ToolDispatched(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tool call starts; from here on its effect may have happened."""

    call_id: Id
    """Call that runs."""


class ToolResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tool call ended; it is never run again."""

    call_id: Id
    """Call that ended."""
    content: Text
    """Result passed to the model."""
    is_error: bool = False
    """True when the tool failed or was refused."""
    duration_s: Seconds = 0.0
    """Seconds it ran."""
    outcome: ToolOutcome = "completed"
    """How it ended; `unknown`: the process died after the dispatch, so the tool may have run."""


class LeftOut(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something a checkpoint does not hold, so that an undo cannot bring it back."""

    path: Line
    """Relative to the workspace; a folder's ends with `/`."""
    reason: LeftOutReason
    """Why."""
    size_bytes: Bytes = 0
    """Size of a file."""


class WorkspaceCheckpointed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The state of the workspace was kept, or could not be: before the task first changes it, and after its calls."""

    moment: CheckpointMoment
    """Before the calls of a model answer, or after them."""
    workspace: Line
    """Absolute folder, links resolved."""
    checkpoint: Name = ""
    """Id in the workspace's shadow repository; empty: none was kept."""
    problem: Message = ""
    """Why none was kept; the task continues without."""
    files: Count = 0
    """Files it holds."""
    size_bytes: Bytes = 0
    """Their size."""
    left_out: Annotated[list[LeftOut], Meta(max_length=100)] = []
    """What it does not hold; the first 20."""
    left_out_count: Count = 0
    """How much it does not hold."""
    changed_files: Count = 0
    """Files this task changed so far; of an `after`."""
    lines_added: Count = 0
    """Lines it added so far."""
    lines_removed: Count = 0
    """Lines it removed so far."""
    duration_s: Seconds = 0.0
    """Seconds it took."""


class AgentInvokeDone(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The task succeeded."""

    final_message: Text
    """The answer."""
    usage: Usage = Usage()
    """Sum over the task's model calls."""
    llm_calls: Count = 0
    """Model calls made."""
    tool_calls: Count = 0
    """Tool calls made."""
    finish_reason: FinishReason = "stop"
    """Why the answer ends; `length` and `content_filter`: it is not whole."""


class AgentInvokeFailed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The task failed."""

    code: Name
    """Stable reason: `model_unavailable`, `cancelled`, `timeout`, `tool_rounds_exceeded`, ..."""
    message: Message
    """Reason for people, with the fix where there is one."""
    retryable: bool = False
    """True when another attempt may succeed."""
    partial_message: Text = ""
    """Output up to the failure."""
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
    | QuestionAsked
    | PlanProposed
    | DelegationRequested
    | HistoryCompacted
    | AgentInvokePaused
    | ToolDispatched
    | ToolResult
    | WorkspaceCheckpointed
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
    QuestionAsked,
    PlanProposed,
    DelegationRequested,
    HistoryCompacted,
    AgentInvokePaused,
    ToolDispatched,
    ToolResult,
    WorkspaceCheckpointed,
    AgentInvokeDone,
    AgentInvokeFailed,
)
