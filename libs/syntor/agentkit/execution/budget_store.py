"""Reserves and settles model calls in the log: each budget is an aggregate that any instance may append to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

import msgspec

from syntor.agentkit.domain import budget_ledger as ledgers
from syntor.contracts.envelope import Lineage
from syntor.contracts.run.v1 import Budget
from syntor.contracts.task.v1 import Usage
from syntor.eventsourcing.aggregate import Aggregates
from syntor.eventsourcing.store import EventStore
from syntor.jetstream.places import lent
from syntor.models.chat import Bound, ModelError

_HOLD_BACKOFF_S = (0.02, 0.5)  # first and longest pause while calls in flight hold the rest of a budget
LIMIT_REACHED = "limit_reached"


class LimitReachedError(ModelError):
    """A limit leaves nothing for the next call; the text names limit and budget."""

    def __init__(self, scope: str, exhausted: ledgers.Exhausted) -> None:
        super().__init__(LIMIT_REACHED, f"{scope}: {exhausted.limit} is reached: {exhausted.message}")


class Scope(msgspec.Struct, frozen=True):
    """A budget a call counts against."""

    aggregate_id: str
    limits: Budget
    name: str
    """For people: `run`, `session`, `agent git today`."""


class BudgetStore:
    """Reserves and settles calls in budgets shared by all instances."""

    def __init__(self, store: EventStore, source: str, clock: Callable[[], datetime]) -> None:
        self._budgets = Aggregates(store, ledgers.BUDGET, source)
        self._clock = clock

    async def reserve(self, scopes: list[Scope], call_ref: str, bound: Bound, lineage: Lineage) -> int | None:
        """Reserve a call in every scope; return how many tokens its completion may have, None for no limit.

        Waits while calls in flight hold the rest of a budget, and lends the place of its message meanwhile.

        Raises:
            LimitReachedError: the call will never fit; nothing stays reserved.
            InfrastructureError: the log could not be read or appended to.
        """
        allowed: int | None = None
        for number, scope in enumerate(scopes):
            if allowed is not None:
                bound = msgspec.structs.replace(bound, output_tokens=allowed)
            try:
                allowed = await self._reserve(scope, call_ref, bound, lineage)
            except LimitReachedError:
                await self.settle(scopes[:number], call_ref, Usage(), lineage)
                raise
        return allowed

    async def settle(self, scopes: list[Scope], call_ref: str, usage: Usage | None, lineage: Lineage) -> None:
        """Settle a call in every scope where it is reserved; None: its usage is unknown."""
        for scope in scopes:
            await self._budgets.transact(
                scope.aggregate_id, lambda ledger: ledgers.settle(ledger, call_ref, usage), lineage, self._clock()
            )

    async def _reserve(self, scope: Scope, call_ref: str, bound: Bound, lineage: Lineage) -> int:
        pause_s, longest_s = _HOLD_BACKOFF_S
        while True:
            async with self._budgets.hold(scope.aggregate_id) as budget:
                await budget.transact(
                    lambda ledger: ledgers.reserve(ledger, scope.limits, call_ref, bound),
                    lineage,
                    self._clock(),
                    limit=1,
                )
                reserved = budget.state.open.get(call_ref)
                if reserved is not None:  # now, or by a process that died before the call
                    return max(0, reserved.tokens - bound.input_tokens)
                decision = ledgers.decide(budget.state, scope.limits, call_ref, bound)
            if isinstance(decision, ledgers.Exhausted):
                raise LimitReachedError(scope.name, decision)
            async with lent():  # a task of a dead instance may hold the rest, and needs a place to continue
                await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, longest_s)
