"""Run events, schema version 1. Frozen once released: only optional fields are added."""

from __future__ import annotations

from datetime import datetime

import msgspec


class Budget(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Limits a run must not pass; None is no limit."""

    max_tokens: int | None = None
    """Input and output tokens of all model calls together."""
    max_cost_microusd: int | None = None
    """Money, in millionths of a US dollar."""
    max_calls: int | None = None
    """Model calls; what `--max-turns` sets."""
    max_wall_time_s: float | None = None
    """Seconds from `user_input` to the end."""


class Attachment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A named text that goes with an input: a file, or what was piped on standard input."""

    name: str
    """Path or label shown to the model."""
    content: str
    """The text."""


class Permissions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What agents may do without asking. Rules are `tool` or `tool(pattern)`, `*` matches anything."""

    mode: str = ""
    """ask, auto-edit, plan (nothing is changed) or auto; empty: as configured, else ask."""
    allow: list[str] = []
    """Calls that need no approval, whatever the mode."""
    ask: list[str] = []
    """Calls that need one, whatever the mode."""
    deny: list[str] = []
    """Calls that are refused; wins over all others."""


class UserInput(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """First event of a run: what was asked, of whom. Also the request."""

    agent: str
    """Agent id that answers."""
    queue: str
    """Task queue of that agent when the request was accepted."""
    content: str
    """What the user said."""
    attachments: list[Attachment] = []
    """Texts that go with it, in order."""
    model: str = ""
    """Model for this run only, `provider/name` or a catalogue name; empty: the agent's own."""
    timeout_s: float = 300.0
    """Seconds a task of this run may take (SYNTOR_AGENT_TIMEOUT_S)."""
    budget: Budget | None = None
    """Limits, if any."""
    metadata: dict[str, str] = {}
    """The caller's own labels; never interpreted."""
    workspace: str = ""
    """Absolute folder the agent's file and git tools may read; empty: none."""
    request_digest: str = ""
    """SHA-256 of the request body, to tell a repeated request from a reused idempotency key."""
    retry_of: str = ""
    """Run this one repeats, if it was asked for by a retry."""
    permissions: Permissions | None = None
    """What agents may do without asking; None: as configured."""
    session_budget: Budget | None = None
    """Limits of all runs of the session together, if any; wall time does not count here."""


class RunStarted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The run has its session's turn and begins."""

    agent: str
    """Agent id that answers."""
    history: list[str] = []
    """Run ids of the session, oldest first, whose messages are the context (at most 50, the newest)."""


class TaskAssigned(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A task is on its queue; the subject's last token is the queue."""

    task_id: str
    """Task id, unique within the run; the first is `t1`."""
    agent: str
    """Agent id that is to do it."""
    queue: str
    """Queue an instance takes it from."""
    attempt: int = 1
    """From 1; grows with each retry."""
    instruction: str = ""
    """What to do; empty: answer the run's `user_input`."""
    parent_task_id: str = ""
    """Task that delegated this one, if any."""
    deadline_at: datetime | None = None
    """Instant after which the orchestrator gives it up."""
    resume: int = 0
    """0: begin. Grows by one each time a task that was paused goes on, within an attempt."""
    inputs: list[str] = []
    """Tasks of this run whose results it builds on, in order; the same each time it goes on."""
    over: list[str] = []
    """Tasks it waited for that are over for good: done, failed, refused, skipped or out of time; on a resume."""
    step: str = ""
    """Step of the plan it does, if one."""
    handoff_from: str = ""
    """Task that handed the conversation over to this one, if one did."""
    chain: list[str] = []
    """Agents between the run's request and this task, the first one first."""


class RunPaused(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Nothing of the run can go on before somebody outside answers; the next `task_assigned` ends the pause."""

    reason: str
    """approval or tool."""
    waiting_for: list[str] = []
    """Ids of the approvals and tool calls waited for."""


class ApprovalExpired(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Nobody decided in time; the call is refused."""

    approval_id: str
    """Approval that ran out; also the subject's last token."""


class DelegationRefused(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A guard refused a delegation or handoff; the agent that asked is told."""

    task_id: str
    """Task that would have been; also the subject's last token."""
    parent_task_id: str
    """Task that asked."""
    agent: str
    """Agent that was asked for."""
    guard: str
    """ancestry, depth, duplicate, rate, circuit, or plan for a plan that does not hold together."""
    message: str
    """Why, for people and for the model."""


class TaskTimedOut(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A delegated task gave no answer by its deadline; who waits for it is told."""

    task_id: str
    """Task that is late; what it says from now on is kept and changes nothing."""
    message: str
    """For people and for the model."""


class StepSkipped(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A step of a plan cannot be done: one it depends on failed, or the plan was rejected."""

    task_id: str
    """Task that will not be; also the subject's last token."""
    parent_task_id: str
    """Task whose plan it is of."""
    step: str
    """Step id."""
    message: str
    """Why, for people and for the model."""


class RunDone(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Terminal: the answer."""

    final_message: str
    """What the agent said last."""
    task_id: str = ""
    """Task that gave the answer."""


class RunFailed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Terminal: no answer, and why."""

    code: str
    """Stable machine-readable reason: `model_unavailable`, `timeout`, `unknown_agent`, ..."""
    message: str
    """Reason for people, with the fix where there is one."""
    task_id: str = ""
    """Task that failed, if one did."""


class RunCancelled(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Terminal: stopped on request. What was said before stays in the log."""

    reason: str = ""
    """Words of who cancelled."""
    requested_by: str = ""
    """Who cancelled."""


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
