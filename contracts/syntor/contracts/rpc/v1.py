"""Requests and replies, version 1. Frozen once released: only optional fields are added.

Endpoint subjects are `syntor.rpc.<service>.<endpoint>` (`subjects.request`). The reply to a
refused request has the headers of the services protocol (`Nats-Service-Error-Code`, `Nats-Service-Error`) and an
`ErrorReply` as body.
Pages are newest first; `cursor` of a page is given back as `before` of the next. A page has at most the rows asked for,
and fewer where more do not fit into one message of NATS; long texts are shown in part, and `cut` says which.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from syntor.contracts.agent.v1 import AgentProfile
from syntor.contracts.bounds import (
    MAX_ROWS,
    Count,
    Id,
    Ids,
    Labels,
    Line,
    Message,
    Name,
    Position,
    Seconds,
    Text,
    Time,
    TraceParent,
    TraceState,
)
from syntor.contracts.task.v1 import Usage
from syntor.contracts.vocabulary import (
    AgentHealth,
    AgentStatus,
    ApprovalStatus,
    Database,
    MessageRole,
    MessageStatus,
    RunStatus,
    TaskStatus,
    UsageGroup,
)

PageSize = Annotated[int, Meta(ge=1, le=500)]
"""Rows of a page."""

REGISTRY = "registry"
REGISTER_AGENT = "register_agent"  # RegisterAgent -> AgentView
DEREGISTER_AGENT = "deregister_agent"  # DeregisterAgent -> AgentView
GET_AGENT = "get_agent"  # GetAgent -> AgentView
LIST_AGENTS = "list_agents"  # ListAgents -> AgentList

PROJECTOR = "projector"
LIST_RUNS = "list_runs"  # ListRuns -> RunPage
GET_RUN = "get_run"  # GetRun -> RunView
LIST_SESSIONS = "list_sessions"  # ListSessions -> SessionPage
GET_SESSION = "get_session"  # GetSession -> SessionView
LIST_MESSAGES = "list_messages"  # ListMessages -> MessagePage
GET_USAGE = "get_usage"  # GetUsage -> UsageReport
LIST_APPROVALS = "list_approvals"  # ListApprovals -> ApprovalPage
GET_STATUS = "get_status"  # GetStatus -> ProjectorStatus


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown in part."""

    size: Count
    """Characters of the whole text, or items of the whole list."""
    whole: Line
    """Path of the HTTP API that has all of it."""


Cuts = Annotated[dict[Name, Cut], Meta(max_length=20)]
"""Fields that are shown in part, by name; empty: everything is whole."""


class ErrorReply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Body of a refused or failed request."""

    code: Name
    """`SyntorError.code`."""
    message: Message
    """For people, with the fix."""
    field: Name = ""
    """Field at fault, if one is."""


class RegisterAgent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Register an agent, or update its record; the same content again is a no-op."""

    profile: AgentProfile
    correlation_id: Id = ""
    caller: TraceParent = ""
    """Trace context of the request it comes from, as its caller sent it; empty: none."""
    caller_state: TraceState = ""


class DeregisterAgent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Deregister an agent."""

    agent_id: Id
    reason: Message = ""
    correlation_id: Id = ""
    caller: TraceParent = ""
    """Trace context of the request it comes from, as its caller sent it; empty: none."""
    caller_state: TraceState = ""
    external: bool = False
    """Whether only an external agent may be meant: others belong to the service of their manifest."""
    owner: Name = ""
    """Name of the token that asks; empty: the operator of this machine, who may deregister any external agent."""


class GetAgent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Get an agent by id or alias."""

    agent_id: Id


class ListAgents(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """List agents, by id."""

    capabilities: Annotated[list[Name], Meta(max_length=100)] = []
    """Only agents that have all of these, compared without regard to case."""
    status: AgentStatus | None = None
    """Only agents of this status; None: all."""
    after: Id = ""
    """Cursor of the page before; empty: the first page."""


class AgentView(msgspec.Struct, frozen=True, kw_only=True):
    """Current state of an agent in the registry."""

    profile: AgentProfile
    status: AgentStatus
    health: AgentHealth
    registered_at: Time
    last_seen: Time | None
    """Last heartbeat of any instance; None: never since the registry started."""
    instances: Count
    """Instances with a heartbeat within the presence TTL."""
    active: Count
    """Active tasks over all instances, as of their last heartbeats."""
    position: Position
    """Stream sequence of the agent's last event."""


class AgentList(msgspec.Struct, frozen=True, kw_only=True):
    """Agents by id."""

    agents: Annotated[list[AgentView], Meta(max_length=MAX_ROWS)]
    cursor: Id | None = None
    """`after` of the next page; None: no more."""


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Heartbeat of one instance, sent every 10 s on its presence subject; never in the log."""

    agent_id: Id
    instance: Id
    status: AgentStatus = "idle"
    health: AgentHealth = "healthy"
    active: Count = 0
    """Active tasks."""
    max_concurrent: Count = 0
    time: Time | None = None


class ListRuns(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Page through runs, newest first."""

    session_id: Id = ""
    agent: Id = ""
    status: RunStatus | None = None
    """Only runs of this status; None: all."""
    limit: PageSize = 50
    before: Position = 0
    """Cursor of the page before; 0: the newest."""
    min_position: Position = 0
    """Read-your-writes: reply once the read model has reached this stream sequence; 0: immediately."""


class TaskView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One task of a run."""

    task_id: Id
    agent: Id
    status: TaskStatus
    instruction: Text = ""
    """Instruction it was given; empty: the run's own input."""
    parent: Id = ""
    """Task that delegated it."""
    step: Id = ""
    """Plan step it carries out."""
    depends_on: Ids = []
    """Tasks whose results it builds on."""
    handoff_from: Id = ""
    """Task that handed the conversation over to it."""
    attempt: Count = 0
    message: Message = ""
    """Why it failed, was refused or was skipped."""
    sandbox: Line = ""
    """How its commands run; empty: it ran none."""
    created_at: Time | None = None
    ended_at: Time | None = None
    cut: Cuts = {}


class RunView(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    run_id: Id
    session_id: Id
    agent: Id
    status: RunStatus
    input: Text
    """The user's input: at most the first 2,000 characters in a list, whole for one run."""
    final_message: Text
    """The answer: at most the first 16,000 characters in a list, whole for one run."""
    error_code: Name
    error_message: Message
    model: Name
    """Model of the last completion."""
    correlation_id: Id
    metadata: Labels
    created_at: Time
    started_at: Time | None
    ended_at: Time | None
    usage: Usage
    llm_calls: Count
    tool_calls: Count
    first_position: Position
    position: Position
    """Stream sequence of the last event that changed this row."""
    retry_of: Id = ""
    steps: Count = 0
    """Steps of its plans."""
    steps_completed: Count = 0
    """Steps that have settled: done, failed or skipped."""
    not_applied: Count = 0
    """Its events the read model could not take in, so that this view lacks what they say; `syntor dlq list` has why."""
    tasks: Annotated[list[TaskView], Meta(max_length=MAX_ROWS)] = []
    """Its tasks in order of creation; only in the reply for one run."""
    cut: Cuts = {}


class RunPage(msgspec.Struct, frozen=True, kw_only=True):
    """Runs, newest first."""

    runs: Annotated[list[RunView], Meta(max_length=MAX_ROWS)]
    cursor: Position | None
    """`before` of the next page; None: no more."""
    position: Position
    """Stream sequence the read model has reached."""


class GetRun(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One run by id; NotFoundError where there is none."""

    run_id: Id
    min_position: Position = 0


class ListSessions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Page through sessions, the one with the newest run first."""

    limit: PageSize = 50
    before: Position = 0
    min_position: Position = 0


class SessionView(msgspec.Struct, frozen=True, kw_only=True):
    """One session."""

    session_id: Id
    title: Line
    """First line of its first input, at most 80 characters."""
    agent: Id
    """Agent of its newest run."""
    runs: Count
    messages: Count
    created_at: Time
    updated_at: Time
    last_run_id: Id
    usage: Usage
    position: Position
    forked_from: Id = ""
    """Session it was forked from."""
    forked_history: Ids = []
    hidden: Ids = []
    """Runs whose messages a rewind took back."""
    undone: Ids = []
    """Runs whose changes to files a rewind took back."""
    undone_before: Ids = []
    """`undone` before the newest rewind: what taking that back leads to."""
    """Runs of that session it begins with."""


class SessionPage(msgspec.Struct, frozen=True, kw_only=True):
    """Sessions, the one with the newest run first."""

    sessions: Annotated[list[SessionView], Meta(max_length=MAX_ROWS)]
    cursor: Position | None
    position: Position


class GetSession(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One session by id; NotFoundError where there is none."""

    session_id: Id
    min_position: Position = 0


class ListMessages(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Page through a session's messages, the newest page first, oldest first within a page."""

    session_id: Id
    limit: PageSize = 50
    before: Position = 0
    min_position: Position = 0


class MessageView(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a session."""

    position: Position
    run_id: Id
    role: MessageRole
    agent: Id
    content: Text
    """At most the first 64,000 characters."""
    status: MessageStatus
    """Not `complete`: `content` is the output up to the cancellation or failure."""
    created_at: Time
    cut: Cuts = {}


class MessagePage(msgspec.Struct, frozen=True, kw_only=True):
    """Messages, oldest first within the page."""

    messages: Annotated[list[MessageView], Meta(max_length=MAX_ROWS)]
    cursor: Position | None
    position: Position


class ListApprovals(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Page through approvals, newest first."""

    run_id: Id = ""
    session_id: Id = ""
    status: ApprovalStatus | None = None
    """Only approvals of this status; None: all."""
    limit: PageSize = 50
    before: Position = 0
    min_position: Position = 0


class ApprovalView(msgspec.Struct, frozen=True, kw_only=True):
    """One approval."""

    run_id: Id
    session_id: Id
    task_id: Id
    approval_id: Id
    """Unique within the run."""
    agent: Id
    """Agent whose call waits."""
    title: Line
    preview: Text
    """What would happen: a command, a diff; at most the first 64,000 characters."""
    reason: Message
    """Rule that requires the approval."""
    rule: Line
    """Rule that would allow calls like this one; empty: none is offered."""
    content_hash: Line
    """Must be sent back with the decision."""
    status: ApprovalStatus
    created_at: Time
    expires_at: Time | None
    decided_at: Time | None
    decided_by: Name
    decision_reason: Message
    position: Position
    cut: Cuts = {}


class ApprovalPage(msgspec.Struct, frozen=True, kw_only=True):
    """Approvals, newest first."""

    approvals: Annotated[list[ApprovalView], Meta(max_length=MAX_ROWS)]
    cursor: Position | None
    position: Position


class GetUsage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Aggregate the usage of model calls."""

    group_by: UsageGroup = "model"
    """What the sums are grouped by; days are UTC."""
    run_id: Id = ""
    session_id: Id = ""
    skip: Count = 0
    """Rows to leave out: the cursor of the page before; 0: the first page."""
    min_position: Position = 0


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """Sum of one group."""

    key: Name
    calls: Count
    usage: Usage
    duration_s: Seconds


class UsageReport(msgspec.Struct, frozen=True, kw_only=True):
    """Sums, the most tokens first."""

    rows: Annotated[list[UsageRow], Meta(max_length=MAX_ROWS)]
    position: Position
    cursor: Count | None = None
    """`skip` of the next page; None: no more."""


class GetStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Positions of the read models."""


class ProjectorStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Positions of the read models."""

    position: Position
    """Stream sequence reached."""
    last_position: Position
    """Last stream sequence of the log."""
    projections: Annotated[dict[Name, Position], Meta(max_length=100)]
    """Checkpoint of each projection."""
    database: Database
