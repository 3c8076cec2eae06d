"""Requests and replies, version 1. Frozen once released: only optional fields are added.

Endpoint subjects are `syntor.rpc.<service>.<endpoint>` (`subjects.request`). A refused request is answered with the
headers of the services protocol (`Nats-Service-Error-Code`, `Nats-Service-Error`) and an `ErrorReply` as body.
Pages are newest first; `cursor` of a page is given back as `before` of the next.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from syntor.contracts.agent.v1 import AgentProfile
from syntor.contracts.task.v1 import Usage

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


class ErrorReply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Body of a refused or failed request."""

    code: str
    """`SyntorError.code`."""
    message: str
    """For people, with the fix."""
    field: str = ""
    """Field at fault, if one is."""


class RegisterAgent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Make an agent known, or update its record; the same content again changes nothing."""

    profile: AgentProfile
    correlation_id: str = ""


class DeregisterAgent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Forget an agent."""

    agent_id: str
    reason: str = ""
    correlation_id: str = ""


class GetAgent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Look an agent up by id or alias."""

    agent_id: str


class ListAgents(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """List agents, by id."""

    capabilities: list[str] = []
    """Only agents that have all of these, compared without regard to case."""
    status: str = ""
    """Only agents of this status; empty: all."""


class AgentView(msgspec.Struct, frozen=True, kw_only=True):
    """An agent as the registry knows it now."""

    profile: AgentProfile
    status: str
    health: str
    registered_at: datetime
    last_seen: datetime | None
    """Last heartbeat of any instance; None: never since the registry started."""
    instances: int
    """Instances heard from within the presence TTL."""
    active: int
    """Tasks being worked on, over all instances, as of their last heartbeats."""
    position: int
    """Stream sequence of the agent's last event."""


class AgentList(msgspec.Struct, frozen=True, kw_only=True):
    """Agents by id."""

    agents: list[AgentView]


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an instance says of itself every 10 s, on its presence subject; never in the log."""

    agent_id: str
    instance: str
    status: str = "idle"
    """idle, working, draining."""
    health: str = "healthy"
    active: int = 0
    """Tasks in work."""
    max_concurrent: int = 0
    time: datetime | None = None


class ListRuns(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Page through runs, newest first."""

    session_id: str = ""
    agent: str = ""
    status: str = ""
    """created, running, paused_waiting_approval, paused_waiting_tool, done, failed or cancelled; empty: all."""
    limit: int = 50
    """1 to 500."""
    before: int = 0
    """Cursor of the page before; 0: the newest."""
    min_position: int = 0
    """Answer only once this stream sequence is in the read model; 0: as it is."""


class TaskView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One task of a run."""

    task_id: str
    agent: str
    status: str
    """waiting, assigned, running, paused, done, failed, refused, skipped or timed_out."""
    instruction: str = ""
    """What it was asked; empty for the run's own."""
    parent: str = ""
    """Task that asked for it."""
    step: str = ""
    """Step of a plan it is."""
    depends_on: list[str] = []
    """Tasks whose results it builds on."""
    handoff_from: str = ""
    """Task that handed the conversation over to it."""
    attempt: int = 0
    message: str = ""
    """Why it did not end well."""
    sandbox: str = ""
    """Where its commands run; empty: it ran none."""
    created_at: datetime | None = None
    ended_at: datetime | None = None


class RunView(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    run_id: str
    session_id: str
    agent: str
    status: str
    """created, running, paused_waiting_approval, paused_waiting_tool, done, failed or cancelled."""
    input: str
    """What was asked, at most the first 2,000 characters in a list, whole for one run."""
    final_message: str
    error_code: str
    error_message: str
    model: str
    """Model that answered last."""
    correlation_id: str
    metadata: dict[str, str]
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    usage: Usage
    llm_calls: int
    tool_calls: int
    first_position: int
    position: int
    """Stream sequence of the last event that changed this row."""
    retry_of: str = ""
    steps: int = 0
    """Steps of its plans."""
    steps_over: int = 0
    """Steps that are done, or will not be."""
    tasks: list[TaskView] = []
    """Its tasks in the order they came up; only where one run is asked for."""


class RunPage(msgspec.Struct, frozen=True, kw_only=True):
    """Runs, newest first."""

    runs: list[RunView]
    cursor: int | None
    """`before` of the next page; None: no more."""
    position: int
    """Stream sequence the read model has reached."""


class GetRun(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One run by id; NotFoundError where there is none."""

    run_id: str
    min_position: int = 0


class ListSessions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Page through sessions, the one with the newest run first."""

    limit: int = 50
    before: int = 0
    min_position: int = 0


class SessionView(msgspec.Struct, frozen=True, kw_only=True):
    """One session."""

    session_id: str
    title: str
    """First line of its first input, at most 80 characters."""
    agent: str
    """Agent of its newest run."""
    runs: int
    messages: int
    created_at: datetime
    updated_at: datetime
    last_run_id: str
    usage: Usage
    position: int
    forked_from: str = ""
    """Session it was forked from."""
    forked_history: list[str] = []
    """Runs of that session it begins with."""


class SessionPage(msgspec.Struct, frozen=True, kw_only=True):
    """Sessions, the one with the newest run first."""

    sessions: list[SessionView]
    cursor: int | None
    position: int


class GetSession(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One session by id; NotFoundError where there is none."""

    session_id: str
    min_position: int = 0


class ListMessages(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Page through a session's messages, the newest page first, oldest first within a page."""

    session_id: str
    limit: int = 50
    before: int = 0
    min_position: int = 0


class MessageView(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a session."""

    position: int
    run_id: str
    role: str
    """user or assistant."""
    agent: str
    content: str
    status: str
    """complete; or cancelled or failed, when `content` is what had been said by then."""
    created_at: datetime


class MessagePage(msgspec.Struct, frozen=True, kw_only=True):
    """Messages, oldest first within the page."""

    messages: list[MessageView]
    cursor: int | None
    position: int


class ListApprovals(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Page through approvals, newest first."""

    run_id: str = ""
    session_id: str = ""
    status: str = ""
    """pending, approved, rejected, expired or void (its run ended before a decision); empty: all."""
    limit: int = 50
    before: int = 0
    min_position: int = 0


class ApprovalView(msgspec.Struct, frozen=True, kw_only=True):
    """One approval."""

    run_id: str
    session_id: str
    task_id: str
    approval_id: str
    """Unique within the run."""
    agent: str
    """Agent that asks."""
    title: str
    preview: str
    """What would happen: a command, a diff."""
    reason: str
    """Rule that asks."""
    rule: str
    """Rule that would allow calls like this one; empty: none is offered."""
    content_hash: str
    """To be given back with the decision."""
    status: str
    """pending, approved, rejected, expired or void (its run ended before a decision)."""
    created_at: datetime
    expires_at: datetime | None
    decided_at: datetime | None
    decided_by: str
    decision_reason: str
    position: int


class ApprovalPage(msgspec.Struct, frozen=True, kw_only=True):
    """Approvals, newest first."""

    approvals: list[ApprovalView]
    cursor: int | None
    position: int


class GetUsage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Sum up what model calls used."""

    group_by: str = "model"
    """run, session, agent, model or day (UTC)."""
    run_id: str = ""
    session_id: str = ""
    min_position: int = 0


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """Sum of one group."""

    key: str
    calls: int
    usage: Usage
    duration_s: float


class UsageReport(msgspec.Struct, frozen=True, kw_only=True):
    """Sums, the most tokens first."""

    rows: list[UsageRow]
    position: int


class GetStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far the read models are."""


class ProjectorStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How far the read models are."""

    position: int
    """Stream sequence reached."""
    last_position: int
    """Last stream sequence of the log."""
    projections: dict[str, int]
    """Checkpoint of each projection."""
    database: str
    """sqlite or postgresql."""
