"""Reserves and settles model calls in the log: each budget is an aggregate that any instance may append to."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime

import msgspec

from syntor.agentkit.domain import budget_ledger as ledgers
from syntor.contracts import subjects
from syntor.contracts.budget.v1 import BudgetEvent
from syntor.contracts.envelope import Lineage
from syntor.contracts.errors import RevisionConflictError
from syntor.contracts.ids import new_id
from syntor.contracts.run.v1 import Budget
from syntor.contracts.task.v1 import Usage
from syntor.eventsourcing.store import EventStore, NewEvent
from syntor.models.chat import Bound, ModelError

_MAX_CACHED = 1000  # budgets
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


class Caller(msgspec.Struct, frozen=True):
    """The run a call belongs to, for the envelope."""

    run_id: str
    session_id: str = ""
    correlation_id: str = ""
    first_position: int = 0
    traceparent: str = ""


class _Account(msgspec.Struct):
    ledger: ledgers.Ledger = ledgers.INITIAL
    revision: int = 0
    version: int = 0


class BudgetStore:
    """Reserves and settles budgets; cached budgets are checked against appends by others when they are written."""

    def __init__(self, store: EventStore, source: str, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._source = source
        self._clock = clock
        self._accounts: OrderedDict[str, _Account] = OrderedDict()
        self._locks: dict[str, asyncio.Lock] = {}

    async def reserve(self, scopes: list[Scope], call_ref: str, bound: Bound, caller: Caller) -> int | None:
        """Reserve a call in every scope; return how many tokens its completion may have, None for no limit.

        Waits while calls in flight hold the rest of a budget.

        Raises:
            LimitReachedError: the call will never fit; nothing stays reserved.
            InfrastructureError: the log could not be read or appended to.
        """
        allowed: int | None = None
        for number, scope in enumerate(scopes):
            if allowed is not None:
                bound = msgspec.structs.replace(bound, output_tokens=allowed)
            try:
                allowed = await self._reserve(scope, call_ref, bound, caller)
            except LimitReachedError:
                await self.settle(scopes[:number], call_ref, Usage(), caller)
                raise
        return allowed

    async def settle(self, scopes: list[Scope], call_ref: str, usage: Usage | None, caller: Caller) -> None:
        """Settle a call in every scope where it is reserved; None: its usage is unknown."""
        for scope in scopes:
            await self._settle(scope, call_ref, usage, caller)

    async def _reserve(self, scope: Scope, call_ref: str, bound: Bound, caller: Caller) -> int:
        pause_s, longest_s = _HOLD_BACKOFF_S
        while True:
            async with self._lock(scope):
                account = self._account(scope)
                known = account.ledger.open.get(call_ref)
                if known is not None:  # reserved by a process that died before the call
                    return max(0, known.tokens - bound.input_tokens)
                decision = ledgers.decide(account.ledger, scope.limits, call_ref, bound)
                if isinstance(decision, ledgers.Reserve):
                    try:
                        await self._append(scope, account, decision.event, caller)
                    except RevisionConflictError:
                        await self._catch_up(scope, account)
                        continue
                    return decision.output_tokens
                if await self._catch_up(scope, account):
                    continue
            if isinstance(decision, ledgers.Exhausted):
                raise LimitReachedError(scope.name, decision)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, longest_s)

    async def _settle(self, scope: Scope, call_ref: str, usage: Usage | None, caller: Caller) -> None:
        async with self._lock(scope):
            account = self._account(scope)
            if call_ref not in account.ledger.open:
                await self._catch_up(scope, account)
            while (reserved := account.ledger.open.get(call_ref)) is not None:
                tokens = None if usage is None else usage.input_tokens + usage.output_tokens
                cost = None if usage is None else usage.cost_microusd
                try:
                    await self._append(scope, account, ledgers.settlement(reserved, tokens, cost), caller)
                except RevisionConflictError:
                    await self._catch_up(scope, account)

    async def _append(self, scope: Scope, account: _Account, event: BudgetEvent, caller: Caller) -> None:
        new = NewEvent(
            aggregate_id=scope.aggregate_id,
            event=event,
            message_id=new_id(),
            source=self._source,
            time=self._clock(),
            version=account.version + 1,
            lineage=Lineage(
                run_id=caller.run_id,
                session_id=caller.session_id,
                correlation_id=caller.correlation_id,
                first_position=caller.first_position,
                traceparent=caller.traceparent,
            ),
        )
        account.revision = await self._store.append(new, account.revision)
        account.version += 1
        account.ledger = ledgers.evolve(account.ledger, event)

    async def _catch_up(self, scope: Scope, account: _Account) -> bool:
        """Fold new events of the log; return whether there were any."""
        before = account.revision
        async for recorded in self._store.load(subjects.aggregate("budget", scope.aggregate_id), account.revision):
            account.ledger = ledgers.evolve(account.ledger, recorded.event)
            account.revision, account.version = recorded.position, recorded.envelope.version
        return account.revision != before

    def _account(self, scope: Scope) -> _Account:
        account = self._accounts.setdefault(scope.aggregate_id, _Account())
        self._accounts.move_to_end(scope.aggregate_id)
        if len(self._accounts) > _MAX_CACHED:
            forgotten, _ = self._accounts.popitem(last=False)
            self._locks.pop(forgotten, None)
        return account

    def _lock(self, scope: Scope) -> asyncio.Lock:
        return self._locks.setdefault(scope.aggregate_id, asyncio.Lock())
