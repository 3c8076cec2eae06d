"""Run events, schema version 1. Frozen once released: only optional fields are added."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from syntor.contracts.bounds import (
    Count,
    Id,
    Ids,
    Labels,
    LimitCostMicrousd,
    LimitCount,
    LimitSeconds,
    LimitTokens,
    Line,
    Message,
    Name,
    Rules,
    Text,
    Time,
    Timeout,
)
from syntor.contracts.vocabulary import FinishReason, Guard, PauseReason, PermissionMode


class Budget(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Limits of a run; None is no limit."""

    max_tokens: LimitTokens | None = None
    """Input and output tokens of all model calls together."""
    max_cost_microusd: LimitCostMicrousd | None = None
    """Cost, in millionths of a US dollar."""
    max_calls: LimitCount | None = None
    """Model calls; what `--max-turns` sets."""
    max_wall_time_s: LimitSeconds | None = None
    """Seconds from `user_input` to the end."""


class Attachment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A named text that goes with an input: a file, or what was piped on standard input."""

    name: Line
    """Path or label shown to the model."""
    content: Text
    """The text."""


class Permissions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What agents may do without approval. Rules are `tool` or `tool(pattern)`, `*` matches anything."""

    mode: PermissionMode | None = None
    """None: as configured, else `ask`."""
    allow: Rules = []
    """Calls that need no approval, whatever the mode."""
    ask: Rules = []
    """Calls that need one, whatever the mode."""
    deny: Rules = []
    """Calls that are refused; wins over all others."""


class Ceiling(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The most a run may do: of the token that started it, and of the server. Whatever repeats the run keeps it."""

    max_mode: PermissionMode = "auto"
    """Highest mode; the order is plan, ask, auto-edit, auto."""
    workspaces: Annotated[list[Line], Meta(max_length=1000)] = []
    """Absolute folders the run's workspace must be one of, or inside one of; empty: any."""


class UserInput(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """First event of a run: the request, and the agent it is for."""

    agent: Id
    """Id of the agent that answers."""
    queue: Id
    """Task queue of that agent when the request was accepted."""
    content: Text
    """The user's message."""
    attachments: Annotated[list[Attachment], Meta(max_length=1000)] = []
    """Texts that go with it, in order."""
    model: Name = ""
    """Model for this run only, `provider/name` or a catalogue name; empty: the agent's own."""
    timeout_s: Timeout = 300.0
    """Seconds a task of this run may take (SYNTOR_AGENT_TIMEOUT_S)."""
    budget: Budget | None = None
    """Limits, if any."""
    metadata: Labels = {}
    """The caller's own labels; never interpreted."""
    workspace: Line = ""
    """Absolute folder the agent's file and git tools may read; empty: none."""
    request_digest: Line = ""
    """SHA-256 of the request body, to tell a repeated request from a reused idempotency key."""
    retry_of: Id = ""
    """Run this one repeats, if it is a retry."""
    permissions: Permissions | None = None
    """What agents may do without approval; None: as configured."""
    session_budget: Budget | None = None
    """Limits of all runs of the session together, if any; wall time does not count here."""
    compact: bool = False
    """True: the agent summarises the session's earlier turns and does nothing else."""
    ceiling: Ceiling | None = None
    """The most it may do, whatever `permissions` and the configuration say; None: no ceiling."""


class RunStarted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The run has its session's turn and begins."""

    agent: Id
    """Id of the agent that answers."""
    history: Ids = []
    """Run ids of the session, oldest first, whose messages are the context (at most 50, the newest)."""


class TaskAssigned(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A task is put on its queue; the subject's last token is the queue."""

    task_id: Id
    """Task id, unique within the run; the first is `t1`."""
    agent: Id
    """Id of the agent the task is for."""
    queue: Id
    """Queue an instance takes it from."""
    attempt: Count = 1
    """From 1; grows with each retry."""
    instruction: Text = ""
    """What to do; empty: answer the run's `user_input`."""
    parent_task_id: Id = ""
    """Task that delegated this one, if any."""
    deadline_at: Time | None = None
    """Instant after which the orchestrator treats it as timed out."""
    resume: Count = 0
    """0 at the start of an attempt; grows by one each time the suspended task is resumed."""
    inputs: Ids = []
    """Tasks of this run whose results it builds on, in order; the same on each resume."""
    settled_tasks: Ids = []
    """On a resume: dependencies that have settled (done, failed, refused, skipped or timed out)."""
    step: Id = ""
    """Plan step it carries out, if any."""
    handoff_from: Id = ""
    """Task that handed the conversation over to this one, if any."""
    chain: Ids = []
    """Agents between the run's request and this task, the first one first."""


class RunPaused(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The run waits for a response from outside; the next `task_assigned` ends the pause."""

    reason: PauseReason
    """What kind of response it waits for."""
    waiting_for: Ids = []
    """Ids of the approvals and tool calls waited for."""


class ApprovalExpired(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An approval expired undecided; the tool call is rejected."""

    approval_id: Id
    """Approval that expired; also the subject's last token."""


class DelegationRefused(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A guard refused a delegation or handoff; the requesting agent receives the reason."""

    task_id: Id
    """Id the delegated task would have had; also the subject's last token."""
    parent_task_id: Id
    """Task that requested it."""
    agent: Id
    """Requested agent."""
    guard: Guard
    """Guard that refused; `plan`: the plan contradicts itself."""
    message: Message
    """Why, for people and for the model."""


class TaskTimedOut(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A delegated task missed its deadline; the waiting task receives a timeout."""

    task_id: Id
    """Task that timed out; its later events are kept and have no effect."""
    message: Message
    """For people and for the model."""


class StepSkipped(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A plan step is skipped: a step it depends on failed, or the plan was rejected."""

    task_id: Id
    """Task of that step; also the subject's last token."""
    parent_task_id: Id
    """Task that proposed the plan."""
    step: Id
    """Step id."""
    message: Message
    """Why, for people and for the model."""


class RunDone(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Terminal: the run succeeded."""

    final_message: Text
    """The agent's answer."""
    task_id: Id = ""
    """Task that gave the answer."""
    finish_reason: FinishReason = "stop"
    """Why the answer ends; `length` and `content_filter`: it is not whole."""


class RunFailed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Terminal: the run failed."""

    code: Name
    """Stable machine-readable reason: `model_unavailable`, `timeout`, `unknown_agent`, ..."""
    message: Message
    """Reason for people, with the fix where there is one."""
    task_id: Id = ""
    """Task that failed, if one did."""


class RunCancelled(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Terminal: the run was cancelled on request. Output written before stays in the log."""

    reason: Message = ""
    """Reason given by the client."""
    requested_by: Name = ""
    """Client or user that cancelled."""


RunEvent = (
    UserInput
    | RunStarted
    | TaskAssigned
    | RunPaused
    | ApprovalExpired
    | DelegationRefused
    | TaskTimedOut
    | StepSkipped
    | RunDone
    | RunFailed
    | RunCancelled
)
EVENTS: tuple[type[RunEvent], ...] = (
    UserInput,
    RunStarted,
    TaskAssigned,
    RunPaused,
    ApprovalExpired,
    DelegationRefused,
    TaskTimedOut,
    StepSkipped,
    RunDone,
    RunFailed,
    RunCancelled,
)
