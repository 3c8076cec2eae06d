"""No order of calls passes a budget's limits."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from syntor.agentkit.domain import budget_ledger as ledgers
from syntor.agentkit.domain.budget_ledger import Exhausted, Hold, Ledger, Reserve
from syntor.contracts.budget.v1 import BudgetSettled
from syntor.contracts.events import Event
from syntor.contracts.run.v1 import Budget
from syntor.contracts.task.v1 import Usage
from syntor.models.chat import Bound

AT = datetime(2026, 11, 21, tzinfo=UTC)


def _fold(event: Event | None, ledger: Ledger = ledgers.INITIAL) -> Ledger:
    assert event is not None
    return ledgers.evolve(ledger, event, AT)


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
    for number, ((tokens_in, tokens_out, price), share, ends) in enumerate(calls):
        decision = ledgers.decide(ledger, limits, f"c{number}", _bound(tokens_in, tokens_out, price))
        if isinstance(decision, Hold):
            assert ledger.open
        if not isinstance(decision, Reserve):
            continue
        ledger = _fold(decision.event, ledger)
        held = sum(each.tokens for each in ledger.open.values()) + ledger.tokens
        spent = sum(each.cost_microusd for each in ledger.open.values()) + ledger.cost_microusd
        assert tokens is None or held <= tokens
        assert cost is None or spent <= cost
        if ends:
            used = tokens_in + int(decision.output_tokens * share)
            paid = int(decision.event.cost_microusd * share)
            usage = Usage(input_tokens=used, cost_microusd=paid)
            ledger = _fold(ledgers.settle(ledger, f"c{number}", usage), ledger)
    assert tokens is None or ledger.tokens <= tokens
    assert cost is None or ledger.cost_microusd <= cost


def test_a_completion_is_bounded_to_what_is_left_and_too_little_exhausts_the_budget() -> None:
    limits = Budget(max_tokens=100)
    cut = ledgers.decide(ledgers.INITIAL, limits, "c1", _bound(10, 500))
    assert isinstance(cut, Reserve)
    assert (cut.output_tokens, cut.event.tokens) == (90, 100)
    none = ledgers.decide(ledgers.INITIAL, limits, "c1", _bound(90, 500))
    assert none == Exhausted("max_tokens", "0 of 100 tokens are used; the next call may need 90 and more")
    held = _fold(cut.event)
    assert ledgers.decide(held, limits, "c2", _bound()) == Hold()


def test_calls_are_counted_and_an_unknown_price_is_no_price() -> None:
    ledger = ledgers.INITIAL
    for number in range(2):
        decision = ledgers.decide(ledger, Budget(max_calls=2), f"c{number}", _bound())
        assert isinstance(decision, Reserve)
        ledger = _fold(decision.event, ledger)
    third = ledgers.decide(ledger, Budget(max_calls=2), "c3", _bound())
    assert third == Exhausted("max_calls", "2 of 2 model calls are made")
    unknown = ledgers.decide(ledgers.INITIAL, Budget(max_cost_microusd=5), "c1", _bound(price=None))
    assert isinstance(unknown, Exhausted)
    assert "input_price" in unknown.message


def test_unknown_usage_counts_in_full_and_settling_twice_changes_nothing() -> None:
    decision = ledgers.decide(ledgers.INITIAL, Budget(max_tokens=100), "c1", _bound(10, 20))
    assert isinstance(decision, Reserve)
    ledger = _fold(decision.event)
    settled = ledgers.settle(ledger, "c1", None)
    assert settled == BudgetSettled(call_ref="c1", tokens=30, cost_microusd=0)
    ledger = _fold(settled, ledger)
    assert _fold(settled, ledger) == ledger
    assert ledgers.settle(ledger, "c1", None) is None
    assert ledger.tokens == 30


def test_a_call_is_reserved_once_and_only_where_it_fits() -> None:
    limits = Budget(max_tokens=50)
    reserved = ledgers.reserve(ledgers.INITIAL, limits, "c1", _bound())
    assert reserved is not None
    ledger = _fold(reserved)
    assert ledgers.reserve(ledger, limits, "c1", _bound()) is None
    assert ledgers.reserve(ledger, limits, "c2", _bound(40)) is None
