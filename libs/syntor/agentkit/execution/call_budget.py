"""The budgets of one task's model calls: reserved before each call, settled after it."""

from __future__ import annotations

import msgspec

from syntor.agentkit.execution.budget_store import BudgetStore, Scope
from syntor.agentkit.execution.task_log import TaskLog
from syntor.contracts.run.v1 import Budget, UserInput
from syntor.contracts.task.v1 import Usage
from syntor.models.chat import ChatModel, ChatRequest


class CallBudget:
    """Keeps a task's model calls within the limits of its run, session and agent; without limits it does nothing."""

    def __init__(self, store: BudgetStore, log: TaskLog, scopes: list[Scope]) -> None:
        self._store = store
        self._log = log
        self._scopes = scopes

    async def reserve(self, call: int, request: ChatRequest, model: ChatModel) -> ChatRequest:
        """Reserve the most a call can use; return the request with its completion bounded to what the limits leave.

        Raises:
            LimitReachedError: a limit leaves nothing.
        """
        if not self._scopes:
            return request
        bound = await model.bound(request)
        allowed = await self._store.reserve(self._scopes, self._ref(call), bound, self._log.lineage())
        return request if allowed is None else msgspec.structs.replace(request, max_tokens=allowed)

    async def settle(self, call: int, usage: Usage | None) -> None:
        """Release what a call did not use; None: its usage is unknown, so all of the reservation counts."""
        if self._scopes:
            await self._store.settle(self._scopes, self._ref(call), usage, self._log.lineage())

    def _ref(self, call: int) -> str:
        return f"{self._log.run_id}.{self._log.assigned.task_id}.{call}"


def scopes_of(log: TaskLog, request: UserInput, agent_id: str, agent_limits: Budget | None) -> list[Scope]:
    """Return the budgets a task's calls count against, always in the same order, so that tasks cannot deadlock."""
    scopes: list[Scope] = []
    if _limits(request.budget):
        scopes.append(Scope(log.run_id, request.budget or Budget(), "run"))
    if _limits(request.session_budget) and log.envelope.sessionid:
        scopes.append(Scope(log.envelope.sessionid, request.session_budget or Budget(), "session"))
    if _limits(agent_limits):
        day = log.envelope.time.strftime("%Y%m%d")
        scopes.append(Scope(f"{agent_id}-{day}", agent_limits or Budget(), f"agent {agent_id} on {day}"))
    return scopes


def _limits(budget: Budget | None) -> bool:
    if budget is None:
        return False
    return any(limit is not None for limit in (budget.max_tokens, budget.max_cost_microusd, budget.max_calls))
