"""What an agent's tasks work with: models, tools, permissions, other agents, budgets; put together for each task."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from syntor.agentkit.answers import Answers, read_answers, read_ends
from syntor.agentkit.budgets import Budgets
from syntor.agentkit.choosing import ModelChoice
from syntor.agentkit.colleagues import Colleagues
from syntor.agentkit.context import TaskContext
from syntor.agentkit.external_tools import ExternalTools
from syntor.agentkit.history import read_history
from syntor.agentkit.manifest import Manifest
from syntor.agentkit.spending import Spending, scopes_of
from syntor.agentkit.task_log import TaskLog
from syntor.agentkit.tool_calls import Surroundings
from syntor.agentkit.tools.sandbox import Sandbox, open_sandbox
from syntor.agentkit.tools.team import client_tool
from syntor.agentkit.tools.tool import Tool
from syntor.contracts import subjects
from syntor.contracts.agent.v1 import AgentProfile
from syntor.contracts.errors import MalformedMessageError
from syntor.contracts.request.v1 import ApprovalDecision, ClientToolsRegistered, SessionForked
from syntor.contracts.run.v1 import Permissions, RunStarted, UserInput
from syntor.eventsourcing.store import EventStore, Recorded

_RUNS_WITH_GRANTS = 50  # newest runs of the session whose decisions "for this session" still count


class Equipment:
    """What one agent's tasks work with."""

    def __init__(
        self,
        manifest: Manifest,
        store: EventStore,
        models: ModelChoice,
        tools: Mapping[str, Tool],
        colleagues: Colleagues,
        budgets: Budgets,
        external: ExternalTools | None = None,
    ) -> None:
        self._manifest = manifest
        self._store = store
        self._models = models
        self._tools = tools
        self._colleagues = colleagues
        self._budgets = budgets
        self._external = external
        self._sandboxes: dict[tuple[Path, bool], asyncio.Task[Sandbox]] = {}

    @property
    def timeout_s(self) -> float | None:
        """Seconds a task may be worked on without a pause; None: any time."""
        return self._manifest.constraints.timeout_s

    async def context(self, log: TaskLog) -> TaskContext:
        """Return what a task's function is given.

        Raises:
            MalformedMessageError: the run has no first event where the assignment says.
            InfrastructureError: the log could not be read.
            ModelError: `configuration`: the configuration is wrong.
        """
        first = await self._store.get(log.envelope.firstposition)
        if first is None or not isinstance(first.event, UserInput) or first.envelope.runid != log.run_id:
            raise MalformedMessageError(f"run {log.run_id}: no user_input at position {log.envelope.firstposition}")
        asked, assigned = first.event, log.assigned
        earlier, tools = await self._session(log)
        history = []
        if earlier and (not assigned.parent_task_id or assigned.handoff_from):
            history = await read_history(self._store, earlier)
        if self._external is not None:
            outside, problems = await self._external.tools(self._manifest.tools)
            tools |= {name: tool for name, tool in outside.items() if name not in tools}
            for problem in problems:
                await log.progress(problem, None)
        if asked.workspace:
            tools |= {name: tool for name, tool in self._tools.items() if name not in tools}
        else:
            tools |= {name: tool for name, tool in self._tools.items() if tool.effect == "team"}
        around = Surroundings(
            tools=tools,
            workspace=Path(asked.workspace) if asked.workspace else None,
            permissions=self._permissions(asked),
            answers=await read_answers(self._store, log) if log.state.waits else Answers(),
            find_agent=self._colleagues.find,
            list_agents=self._others,
            delegates_to=self._manifest.delegates_to,
            grants=lambda: self._grants(log.run_id, earlier),
            sandbox=self.sandbox,
        )
        scopes = scopes_of(log, asked, self._manifest.id, self._manifest.constraints.daily_budget())
        context = TaskContext(log, asked, history, self._models, around, Spending(self._budgets, log, scopes))
        if assigned.inputs:
            context.inputs = await read_ends(self._store, log.run_id, assigned.inputs)
        return context

    async def sandbox_note(self) -> str:
        """Say where commands of the agent run: `bubblewrap`, or `limits` and why; empty where it has none."""
        if not any(tool.effect == "execute" or tool.name.startswith("git_") for tool in self._tools.values()):
            return ""
        return (await open_sandbox(Path("/"), network=False)).description

    async def _others(self) -> list[AgentProfile]:
        allowed = self._manifest.delegates_to
        return [
            profile
            for profile in await self._colleagues.all()
            if profile.agent_id != self._manifest.id and (not allowed or profile.agent_id in allowed)
        ]

    async def sandbox(self, workspace: Path) -> Sandbox:
        """Return where commands run for a workspace; opened once."""
        network = self._models.configuration().sandbox.network
        key = (workspace, network)
        if key not in self._sandboxes:
            self._sandboxes[key] = asyncio.create_task(open_sandbox(workspace, network=network))
        return await self._sandboxes[key]

    async def _session(self, log: TaskLog) -> tuple[list[str], dict[str, Tool]]:
        """Return the runs before this one, those of a session it was forked from first, and its client's tools."""
        session_id = log.envelope.sessionid
        if not session_id:
            return [], {}
        earlier: list[str] = []
        forked: list[str] = []
        tools: dict[str, Tool] = {}
        for recorded in await self._store.last_of_each(
            [
                subjects.event("run", log.run_id, "run_started"),
                subjects.event("request", session_id, "client_tools_registered"),
                subjects.event("request", session_id, "session_forked"),
            ]
        ):
            match recorded.event:
                case RunStarted(history=runs):
                    earlier = runs
                case ClientToolsRegistered(tools=offered):
                    tools = {tool.name: client_tool(tool) for tool in offered}
                case SessionForked(history=runs):
                    forked = runs
                case _:
                    pass
        return [*forked, *earlier], tools

    def _permissions(self, asked: UserInput) -> Permissions:
        """Return what the run's own permissions and the configured ones are together."""
        configured, own = self._models.configuration().permissions, asked.permissions or Permissions()
        return Permissions(
            mode=own.mode or configured.mode,
            allow=[*own.allow, *configured.allow],
            ask=[*own.ask, *configured.ask],
            deny=[*own.deny, *configured.deny],
        )

    async def _grants(self, run_id: str, earlier: list[str]) -> list[str]:
        """Return the rules people approved for the session of a run."""
        runs = [*earlier[-_RUNS_WITH_GRANTS:], run_id]
        filters = [subjects.event("request", run, "approval_decision", "*") for run in runs]
        decisions: list[Recorded] = await self._store.last_of_each(filters)
        return [
            decision.rule
            for decision in (recorded.event for recorded in decisions)
            if isinstance(decision, ApprovalDecision)
            and decision.approved
            and decision.scope == "session"
            and decision.rule
        ]
