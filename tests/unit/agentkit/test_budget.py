"""Budgets are never passed: in any order of calls, with any number of processes, and when one dies."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syntor.agentkit import budget as ledgers
from syntor.agentkit.budget import Exhausted, Hold, Reserve
from syntor.agentkit.budgets import Budgets, Caller, LimitReachedError, Scope
from syntor.agentkit.host import now
from syntor.contracts.budget.v1 import BudgetSettled
from syntor.contracts.errors import NotReachableError
from syntor.contracts.run.v1 import Budget
from syntor.contracts.task.v1 import Usage
from syntor.models.chat import Bound
from syntor.testing.failing import FailingStore
from syntor.testing.memory import MemoryStore

CALLER = Caller(run_id="r1")


def _bound(tokens_in: int = 10, tokens_out: int | None = 20, price: float | None = 0.0, fixed: int = 0) -> Bound:
    return Bound(
        input_tokens=tokens_in, output_tokens=tokens_out, input_price=price, output_price=price, fixed_microusd=fixed
    )


CALLS = st.tuples(st.integers(1, 200), st.one_of(st.none(), st.integers(1, 400)), st.sampled_from([0.0, 0.25, 3.0]))


@given(
    st.lists(st.tuples(CALLS, st.floats(0, 1), st.booleans()), max_size=30),
    st.one_of(st.none(), st.integers(1, 3000)),
    st.one_of(st.none(), st.integers(1, 5000)),
)
def test_no_order_of_calls_passes_a_limit(
    calls: list[tuple[tuple[int, int | None, float], float, bool]], tokens: int | None, cost: int | None
) -> None:
    limits, ledger = Budget(max_tokens=tokens, max_cost_microusd=cost), ledgers.INITIAL
    for number, ((asked, answer, price), share, ends) in enumerate(calls):
        decision = ledgers.decide(ledger, limits, f"c{number}", _bound(asked, answer, price))
        if isinstance(decision, Hold):
            assert ledger.open
        if not isinstance(decision, Reserve):
            continue
        ledger = ledgers.evolve(ledger, decision.event)
        held = sum(each.tokens for each in ledger.open.values()) + ledger.tokens
        spent = sum(each.cost_microusd for each in ledger.open.values()) + ledger.cost_microusd
        assert tokens is None or held <= tokens
        assert cost is None or spent <= cost
        if ends:
            used = asked + int(decision.output_tokens * share)
            money = int(decision.event.cost_microusd * share)
            ledger = ledgers.evolve(ledger, ledgers.settlement(decision.event, used, money))
    assert tokens is None or ledger.tokens <= tokens
    assert cost is None or ledger.cost_microusd <= cost


def test_an_answer_is_cut_to_what_is_left_and_too_little_is_nothing() -> None:
    limits = Budget(max_tokens=100)
    cut = ledgers.decide(ledgers.INITIAL, limits, "c1", _bound(10, 500))
    assert isinstance(cut, Reserve)
    assert (cut.output_tokens, cut.event.tokens) == (90, 100)
    none = ledgers.decide(ledgers.INITIAL, limits, "c1", _bound(90, 500))
    assert none == Exhausted("max_tokens", "0 of 100 tokens are used; the next call may need 90 and more")
    held = ledgers.evolve(ledgers.INITIAL, cut.event)
    assert ledgers.decide(held, limits, "c2", _bound()) == Hold()


def test_calls_are_counted_and_an_unknown_price_is_no_price() -> None:
    ledger = ledgers.INITIAL
    for number in range(2):
        decision = ledgers.decide(ledger, Budget(max_calls=2), f"c{number}", _bound())
        assert isinstance(decision, Reserve)
        ledger = ledgers.evolve(ledger, decision.event)
    third = ledgers.decide(ledger, Budget(max_calls=2), "c3", _bound())
    assert third == Exhausted("max_calls", "2 of 2 model calls are made")
    unknown = ledgers.decide(ledgers.INITIAL, Budget(max_cost_microusd=5), "c1", _bound(price=None))
    assert isinstance(unknown, Exhausted)
    assert "input_price" in unknown.message


def test_what_nobody_knows_counts_as_used_and_settling_twice_changes_nothing() -> None:
    decision = ledgers.decide(ledgers.INITIAL, Budget(max_tokens=100), "c1", _bound(10, 20))
    assert isinstance(decision, Reserve)
    settled = ledgers.settlement(decision.event, None, None)
    assert settled == BudgetSettled(call_ref="c1", tokens=30, cost_microusd=0)
    ledger = ledgers.evolve(ledgers.evolve(ledgers.INITIAL, decision.event), settled)
    assert ledgers.evolve(ledger, settled) == ledger
    assert ledger.tokens == 30


async def test_fifty_calls_of_five_processes_share_one_budget() -> None:
    store = MemoryStore()
    scopes = [Scope("r1", Budget(max_tokens=1000), "run"), Scope("s1", Budget(max_cost_microusd=2000), "session")]
    used = 0
    refused: list[tuple[str, str]] = []

    async def call(number: int, budgets: Budgets) -> None:
        nonlocal used
        try:
            await budgets.reserve(scopes, f"c{number}", _bound(30, 20, 1.0), CALLER)
        except LimitReachedError as exc:
            refused.append((exc.code, str(exc).split(": ")[1]))
            return
        await asyncio.sleep(0)
        used += 40
        await budgets.settle(scopes, f"c{number}", Usage(input_tokens=30, output_tokens=10, cost_microusd=40), CALLER)

    processes = [Budgets(store, f"p{number}", now) for number in range(5)]
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
        budgets = Budgets(store, f"p{process}", now)
        try:
            await budgets.reserve(scopes, "c1", _bound(), CALLER)
            await budgets.settle(scopes, "c1", usage, CALLER)
            break
        except NotReachableError:
            continue
    left = Budgets(store, "p9", now)
    assert await left.reserve(scopes, "c2", _bound(10, 200), CALLER) in (75, 60)  # 60: all reserved counts as used
