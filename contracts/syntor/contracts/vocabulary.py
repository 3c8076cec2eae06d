"""Closed sets of the contracts, each said once: events, requests, replies and HTTP bodies use these types.

A value that is not listed is refused where it enters. Adding a value needs a new schema version of what carries it.
"""

from __future__ import annotations

from typing import Literal, get_args

RunStatus = Literal[
    "created", "running", "paused_waiting_approval", "paused_waiting_tool", "done", "failed", "cancelled"
]
TaskStatus = Literal[
    "waiting", "assigned", "running", "paused", "done", "failed", "refused", "skipped", "timed_out", "handed_over"
]
ApprovalStatus = Literal["pending", "approved", "rejected", "expired", "void"]
"""void: the run ended before a decision."""
PermissionMode = Literal["ask", "auto-edit", "plan", "auto"]
"""ask: before each change; auto-edit: not for edits; plan: changes nothing; auto: only before work could be lost."""
PolicyOutcome = Literal["allow", "require_approval", "deny"]
ToolEffect = Literal["read", "write", "execute", "network", "delegate", "client"]
ToolOutcome = Literal["completed", "refused", "rejected", "expired", "unknown", "submitted"]
"""How a tool call ended: completed here (well or with an error), refused by the policy, rejected by a person, expired
undecided, unknown (the process died after the dispatch), or submitted by a client."""
CheckpointMoment = Literal["before", "after"]
"""before: agents are about to change the workspace; after: the calls of one model answer have ended."""
LeftOutReason = Literal[
    "ignored", "large", "total", "special", "unreadable", "too_deep", "other_file_system", "reserved"
]
"""Why a checkpoint does not hold something: ignored by git and too much; larger than the limit of a file; beyond the
limit of all files; no file, link or folder (a socket, say); no right to read it; nested too deep; another file system;
or git's and Syntor's own."""
RewindScope = Literal["files", "conversation", "both"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]
PauseReason = Literal["approval", "tool"]
WaitKind = Literal["approval", "tool", "task"]
"""tool: a result of a client's tool, or a response to a question."""
QuestionAction = Literal["answer", "decline"]
Guard = Literal["ancestry", "depth", "duplicate", "rate", "circuit", "handoff", "plan"]
ApprovalScope = Literal["once", "session"]
AgentKind = Literal["service", "worker"]
AgentStatus = Literal["idle", "busy", "working", "blocked", "collaborating", "draining", "offline"]
AgentHealth = Literal["healthy", "degraded", "unhealthy", "unknown"]
TimerName = Literal["task_deadline", "run_deadline", "wait_expired"]
UsageGroup = Literal["run", "session", "agent", "model", "day"]
MessageRole = Literal["user", "assistant"]
MessageStatus = Literal["complete", "cancelled", "failed"]
Database = Literal["sqlite", "postgresql"]

RUN_STATUSES: tuple[RunStatus, ...] = get_args(RunStatus)
TERMINAL_RUN_STATUSES: frozenset[RunStatus] = frozenset({"done", "failed", "cancelled"})
APPROVAL_STATUSES: tuple[ApprovalStatus, ...] = get_args(ApprovalStatus)
AGENT_STATUSES: tuple[AgentStatus, ...] = get_args(AgentStatus)
MODES: tuple[PermissionMode, ...] = get_args(PermissionMode)
DEFAULT_MODE: PermissionMode = "ask"
USAGE_GROUPS: tuple[UsageGroup, ...] = get_args(UsageGroup)
FINISH_REASONS: tuple[FinishReason, ...] = get_args(FinishReason)
