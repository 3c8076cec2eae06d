"""Makes calls of delegate, handoff and plan: finds the agents, requests the tasks, and collects their results."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from syntor.agentkit.domain.delegation import (
    PLAN_MODE_TEXT,
    Delegate,
    Plan,
    check_plan,
    delegation_outcome,
    plan_outcome,
)
from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.execution.task_log import TaskLog
from syntor.agentkit.execution.tool_call_deps import ToolCallDeps
from syntor.contracts.agent.v1 import AgentProfile
from syntor.contracts.errors import NotFoundError
from syntor.contracts.task.v1 import DelegationRequested, PlanProposed, PlanStep, ToolCall, ToolResult, Wait
from syntor.directory.agents import queue_of
from syntor.runtime.redaction import redact

FindAgent = Callable[[str], Awaitable[AgentProfile]]
"""Finds an agent by id or alias; raises NotFoundError, whose text names the known agents."""


class DelegatedCalls:
    """Delegation by one task."""

    def __init__(self, log: TaskLog, deps: ToolCallDeps) -> None:
        self._log = log
        self._deps = deps

    async def make(self, call: ToolCall, arguments: dict[str, Any]) -> ToolResult | list[Wait]:
        """Return the result of a call, or the tasks it waits for."""
        try:
            if call.name == "plan":
                return await self._plan(call, msgspec.convert(arguments, Plan))
            return await self._delegate(call, msgspec.convert(arguments, Delegate))
        except msgspec.ValidationError as exc:
            return _error(call, f"arguments of {call.name}: {exc}")
        except (NotFoundError, ToolError) as exc:
            return _error(call, str(exc))

    async def _delegate(self, call: ToolCall, arguments: Delegate) -> ToolResult | list[Wait]:
        requested = self._log.state.delegated.get(call.id)
        if requested is None:
            agent, queue = await self._find(arguments.agent)
            requested = DelegationRequested(
                call_id=call.id,
                task_id=f"{self._log.assigned.task_id}-{call.id}",
                agent=agent,
                queue=queue,
                instruction=arguments.task,
                handoff=call.name == "handoff",
            )
            await self._log.append(requested)
        return delegation_outcome(requested, self._deps.results.task_ends)

    async def _plan(self, call: ToolCall, arguments: Plan) -> ToolResult | list[Wait]:
        if self._deps.permissions.mode == "plan":
            return ToolResult(call_id=call.id, content=PLAN_MODE_TEXT)
        plan = self._log.state.plans.get(call.id)
        if plan is None:
            check_plan(arguments)
            plan = PlanProposed(call_id=call.id, summary=arguments.summary, steps=await self._steps(call, arguments))
            await self._log.append(plan)
        return plan_outcome(plan, self._deps.results.task_ends)

    async def _steps(self, call: ToolCall, plan: Plan) -> list[PlanStep]:
        steps: list[PlanStep] = []
        for number, step in enumerate(plan.steps, 1):
            agent, queue = await self._find(step.agent)
            steps.append(
                PlanStep(
                    id=step.id,
                    agent=agent,
                    queue=queue,
                    action=step.action,
                    depends_on=step.depends_on,
                    task_id=f"{self._log.assigned.task_id}-{call.id}-{number}",
                )
            )
        return steps

    async def _find(self, agent: str) -> tuple[str, str]:
        """Return id and queue of an agent to delegate to.

        Raises:
            NotFoundError: there is no such agent.
            ToolError: the manifest does not allow it.
        """
        profile, allowed = await self._deps.find_agent(agent), self._deps.delegates_to
        if allowed and profile.agent_id not in allowed:
            raise ToolError(f"this agent may only delegate to {', '.join(allowed)}, not {profile.agent_id}")
        return profile.agent_id, queue_of(profile)


def _error(call: ToolCall, message: str) -> ToolResult:
    return ToolResult(call_id=call.id, content=redact(message), is_error=True)
