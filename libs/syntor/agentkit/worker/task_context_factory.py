"""Assembles what each task of an agent works with: models, tools, permissions, peer agents, budgets."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import msgspec

from syntor.agentkit.checkpoints.keeper import Keeper
from syntor.agentkit.context import TaskContext
from syntor.agentkit.domain.context_window import UNKNOWN_WINDOW, fit_memory
from syntor.agentkit.domain.external_results import ExternalResults
from syntor.agentkit.execution.budget_store import BudgetStore
from syntor.agentkit.execution.call_budget import CallBudget, scopes_of
from syntor.agentkit.execution.history_search import SEARCH_HISTORY, search_history
from syntor.agentkit.execution.model_calls import ModelCalls
from syntor.agentkit.execution.result_reader import read_external_results, read_task_ends
from syntor.agentkit.execution.session_history import SessionHistory
from syntor.agentkit.execution.task_log import TaskLog
from syntor.agentkit.execution.tool_call_deps import ToolCallDeps
from syntor.agentkit.manifest import Manifest
from syntor.agentkit.model_resolver import ModelResolver
from syntor.agentkit.peer_directory import PeerDirectory
from syntor.agentkit.tools.delegation import client_tool
from syntor.agentkit.tools.mcp_tools import McpTools
from syntor.agentkit.tools.own_files import usable_workspace
from syntor.agentkit.tools.sandbox import Sandbox, open_sandbox
from syntor.agentkit.tools.tool import Tool
from syntor.contracts import subjects
from syntor.contracts.agent.v1 import AgentProfile
from syntor.contracts.ceiling import NO_CEILING, lower
from syntor.contracts.errors import MalformedMessageError
from syntor.contracts.request.v1 import ApprovalDecision
from syntor.contracts.run.v1 import Permissions, RunStarted, UserInput
from syntor.contracts.session.v1 import ClientToolsRegistered, SessionForked, SessionRewound
from syntor.eventsourcing.store import EventStore
from syntor.runtime.telemetry import trace_id_of

_RUNS_WITH_GRANTS = 50  # newest runs of the session whose decisions "for this session" still count


class _Session(msgspec.Struct, frozen=True):
    """What a task takes over from its session."""

    runs: list[str] = []
    """Earlier runs, oldest first; those of the session it was forked from come first."""
    client_tools: dict[str, Tool] = {}
    forked: list[str] = []
    """Those of the session it was forked from."""
    hidden: frozenset[str] = frozenset()
    """Those a rewind took back."""


class TaskContextFactory:
    """Creates the contexts of one agent's tasks."""

    def __init__(
        self,
        manifest: Manifest,
        store: EventStore,
        models: ModelResolver,
        tools: Mapping[str, Tool],
        peers: PeerDirectory,
        budgets: BudgetStore,
        mcp_tools: McpTools | None = None,
        checkpoints: Keeper | None = None,
    ) -> None:
        self._manifest = manifest
        self._store = store
        self._models = models
        self._tools = tools
        self._peers = peers
        self._budgets = budgets
        self._mcp_tools = mcp_tools
        self._checkpoints = checkpoints
        self._sandboxes: dict[tuple[Path, bool], asyncio.Task[Sandbox]] = {}

    @property
    def timeout_s(self) -> float | None:
        """Seconds a task may run without a pause; None: no limit."""
        return self._manifest.constraints.timeout_s

    async def context(self, log: TaskLog) -> TaskContext:
        """Return the context of a task.

        Raises:
            MalformedMessageError: the run has no first event at the position the assignment names.
            InfrastructureError: the log could not be read.
            ModelError: `configuration`: the configuration is invalid, or the workspace is Syntor's own.
        """
        request, assigned = await self._request(log), log.assigned
        session = await self._session(log)
        earlier = session.runs if not assigned.parent_task_id or assigned.handoff_from else []
        past = await SessionHistory.read(self._store, earlier)
        history = fit_memory(past.said, UNKNOWN_WINDOW // 2).messages
        ceiling = request.ceiling or NO_CEILING
        deps = ToolCallDeps(
            tools=await self._tools_for(log, request, session),
            workspace=await asyncio.to_thread(usable_workspace, request.workspace, ceiling.workspaces),
            permissions=self._permissions(request),
            results=await read_external_results(self._store, log) if log.state.waits else ExternalResults(),
            find_agent=self._peers.find,
            list_agents=self._allowed_peers,
            delegates_to=self._manifest.delegates_to,
            grants=lambda: self._grants(log.run_id, session.runs if ceiling.max_mode == "auto" else []),
            sandbox=self.sandbox,
            checkpoints=self._checkpoints,
        )
        scopes = scopes_of(log, request, self._manifest.id, self._manifest.constraints.daily_budget())
        model_calls = ModelCalls(log, request, self._models, CallBudget(self._budgets, log, scopes))
        context = TaskContext(log, request, history, model_calls, deps, past.memory, self._models.home)
        if assigned.inputs:
            context.inputs = await read_task_ends(self._store, log.run_id, assigned.inputs)
        return context

    async def sandbox_note(self) -> str:
        """Return where commands of the agent run: `bubblewrap`, or `limits` and why; empty: it runs no commands."""
        if not any(tool.effect == "execute" or tool.name.startswith("git_") for tool in self._tools.values()):
            return ""
        return (await open_sandbox(Path("/"), network=False)).description

    async def sandbox(self, workspace: Path) -> Sandbox:
        """Return the sandbox of a workspace, opened once; a task that is cancelled meanwhile does not cancel it."""
        network = self._models.configuration().sandbox.network
        key = (workspace, network)
        opening = self._sandboxes.get(key)
        if opening is None or (opening.done() and (opening.cancelled() or opening.exception() is not None)):
            opening = self._sandboxes[key] = asyncio.create_task(open_sandbox(workspace, network=network))
        return await asyncio.shield(opening)

    async def _request(self, log: TaskLog) -> UserInput:
        """Return the first event of the task's run."""
        position = log.envelope.firstposition
        first = await self._store.get(position)
        if first is None or not isinstance(first.event, UserInput) or first.envelope.runid != log.run_id:
            raise MalformedMessageError(f"run {log.run_id}: no user_input at position {position}")
        if trace_id_of(log.traceparent) == trace_id_of(first.envelope.traceparent):
            log.tracestate = first.envelope.tracestate
        return first.event

    async def _tools_for(self, log: TaskLog, request: UserInput, session: _Session) -> dict[str, Tool]:
        """Return the tools of a task; where names collide, a client's tool wins over one of an MCP server."""
        tools = dict(session.client_tools)
        if session.runs:
            tools[SEARCH_HISTORY] = search_history(self._store, log.envelope.sessionid, session.forked, session.hidden)
        if self._mcp_tools is not None:
            from_servers, problems = await self._mcp_tools.tools(
                self._manifest.tools, Path(request.workspace) if request.workspace else None
            )
            for name, tool in from_servers.items():
                tools.setdefault(name, tool)
            for problem in problems:
                await log.progress(problem, None)
        for name, tool in self._tools.items():
            if request.workspace or tool.effect in ("delegate", "client"):
                tools.setdefault(name, tool)
        return tools

    async def _allowed_peers(self) -> list[AgentProfile]:
        allowed = self._manifest.delegates_to
        return [
            profile
            for profile in await self._peers.all()
            if profile.agent_id != self._manifest.id and (not allowed or profile.agent_id in allowed)
        ]

    async def _session(self, log: TaskLog) -> _Session:
        session_id = log.envelope.sessionid
        if not session_id:
            return _Session()
        earlier: list[str] = []
        forked: list[str] = []
        hidden: list[str] = []
        tools: dict[str, Tool] = {}
        for recorded in await self._store.last_of_each(
            [
                subjects.of_type(RunStarted, log.run_id),
                subjects.of_type(ClientToolsRegistered, session_id),
                subjects.of_type(SessionForked, session_id),
                subjects.of_type(SessionRewound, session_id),
            ]
        ):
            match recorded.event:
                case RunStarted(history=runs):
                    earlier = runs
                case ClientToolsRegistered(tools=offered):
                    tools = {tool.name: client_tool(tool) for tool in offered}
                case SessionForked(history=runs):
                    forked = runs
                case SessionRewound(hidden=runs):
                    hidden = runs
                case _:
                    pass
        kept = [run for run in (*forked, *earlier) if run not in hidden]
        return _Session(kept, tools, forked, frozenset(hidden))

    def _permissions(self, request: UserInput) -> Permissions:
        """Return the run's own permissions combined with the configured ones."""
        configured, own = self._models.configuration().permissions, request.permissions or Permissions()
        ceiling = request.ceiling or NO_CEILING
        in_folder = self._models.allowed_in(Path(request.workspace) if request.workspace else None)
        return Permissions(
            mode=lower(own.mode or configured.mode, ceiling.max_mode),
            allow=[*own.allow, *configured.allow, *in_folder],
            ask=[*own.ask, *configured.ask],
            deny=[*own.deny, *configured.deny],
        )

    async def _grants(self, run_id: str, earlier: list[str]) -> list[str]:
        """Return the rules people approved for the session of a run."""
        runs = [*earlier[-_RUNS_WITH_GRANTS:], run_id]
        filters = [subjects.event("request", run, "approval_decision", "*") for run in runs]
        return [
            decision.rule
            for decision in (recorded.event for recorded in await self._store.last_of_each(filters))
            if isinstance(decision, ApprovalDecision)
            and decision.approved
            and decision.scope == "session"
            and decision.rule
        ]
