"""Budgets hold for any number of processes, and when one dies."""

from __future__ import annotations

import asyncio

import pytest

from syntor.agentkit.execution.budget_store import BudgetStore, LimitReachedError, Scope
from syntor.contracts.clock import now
from syntor.contracts.envelope import Lineage
from syntor.contracts.errors import NotReachableError
from syntor.contracts.run.v1 import Budget
from syntor.contracts.task.v1 import Usage
from syntor.models.chat import Bound
from syntor.testing.failing import FailingStore
from syntor.testing.memory import MemoryStore

LINEAGE = Lineage(run_id="r1")


def _bound(tokens_in: int = 10, tokens_out: int | None = 20, price: float | None = 0.0, fixed: int = 0) -> Bound:
    return Bound(
        input_tokens=tokens_in, output_tokens=tokens_out, input_price=price, output_price=price, fixed_microusd=fixed
    )


async def test_fifty_calls_of_five_processes_share_one_budget() -> None:
    store = MemoryStore()
    scopes = [Scope("r1", Budget(max_tokens=1000), "run"), Scope("s1", Budget(max_cost_microusd=2000), "session")]
    used = 0
    refused: list[tuple[str, str]] = []

    async def call(number: int, budgets: BudgetStore) -> None:
        nonlocal used
        try:
            await budgets.reserve(scopes, f"c{number}", _bound(30, 20, 1.0), LINEAGE)
        except LimitReachedError as exc:
            refused.append((exc.code, str(exc).split(": ")[1]))
            return
        await asyncio.sleep(0)
        used += 40
        await budgets.settle(scopes, f"c{number}", Usage(input_tokens=30, output_tokens=10, cost_microusd=40), LINEAGE)

    processes = [BudgetStore(store, f"p{number}", now) for number in range(5)]
    await asyncio.gather(*(call(number, processes[number % 5]) for number in range(50)))
    assert 1000 - 50 < used <= 1000
    assert refused == [("limit_reached", "max_tokens is reached")] * (50 - used // 40)
    for scope in scopes:
        events = [recorded async for recorded in store.load(f"syntor.events.budget.{scope.aggregate_id}.>")]
        assert [recorded.envelope.version for recorded in events] == list(range(1, len(events) + 1))


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("dies_at", range(1, 5))
async def test_a_process_that_dies_between_reserving_and_settling_leaves_no_hole(dies_at: int, stored: bool) -> None:
    store = FailingStore()
    scopes = [Scope("r1", Budget(max_tokens=100), "run"), Scope("s1", Budget(max_calls=5), "session")]
    usage = Usage(input_tokens=10, output_tokens=5)
    store.fail_at(dies_at, stored=stored)
    for process in range(2):
        budgets = BudgetStore(store, f"p{process}", now)
        try:
            await budgets.reserve(scopes, "c1", _bound(), LINEAGE)
            await budgets.settle(scopes, "c1", usage, LINEAGE)
            break
        except NotReachableError:
            continue
    left = BudgetStore(store, "p9", now)
    assert await left.reserve(scopes, "c2", _bound(10, 200), LINEAGE) in (75, 60)  # 60: all reserved counts as used
