"""Pure budget aggregate: reservations of model calls and their settlements.

Invariant: settled and reserved amounts together never exceed a limit, in any order of calls, and also when a process
dies between a reservation and its settlement.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from syntor.contracts.bounds import MAX_COST_MICROUSD, MAX_TOKENS
from syntor.contracts.budget.v1 import BudgetReserved, BudgetSettled
from syntor.contracts.events import Event
from syntor.contracts.run.v1 import Budget
from syntor.contracts.task.v1 import Usage
from syntor.eventsourcing.decider import Decider
from syntor.models.chat import Bound

MIN_OUTPUT_TOKENS = 16  # a completion bounded to less than this is useless
ENOUGH_OUTPUT_TOKENS = 1024  # from here on a call is made now rather than held until more is released
DEFAULT_OUTPUT_TOKENS = 4096  # reserved for a completion without a bound
_UNLIMITED = 2**53  # output tokens where no limit applies


class Ledger(msgspec.Struct, frozen=True):
    """State of one budget."""

    calls: int = 0
    """Calls reserved, settled ones included."""
    tokens: int = 0
    """Tokens of settled calls."""
    cost_microusd: int = 0
    """Cost of settled calls."""
    open: Mapping[str, BudgetReserved] = {}
    """Reservations of calls in flight, by call."""


INITIAL = Ledger()


class Reserve(msgspec.Struct, frozen=True):
    """The call fits into the budget."""

    event: BudgetReserved
    output_tokens: int
    """Tokens its completion may have."""


class Hold(msgspec.Struct, frozen=True):
    """The call does not fit now, but may once calls in flight are settled."""


class Exhausted(msgspec.Struct, frozen=True):
    """The call will never fit."""

    limit: str
    """Field of the budget."""
    message: str


Decision = Reserve | Hold | Exhausted


def evolve(ledger: Ledger, event: Event, at: datetime) -> Ledger:
    """Apply one event."""
    match event:
        case BudgetReserved(call_ref=ref):
            return msgspec.structs.replace(ledger, calls=ledger.calls + 1, open={**ledger.open, ref: event})
        case BudgetSettled(call_ref=ref) if ref in ledger.open:
            return msgspec.structs.replace(
                ledger,
                tokens=ledger.tokens + event.tokens,
                cost_microusd=ledger.cost_microusd + event.cost_microusd,
                open={other: reserved for other, reserved in ledger.open.items() if other != ref},
            )
        case _:
            return ledger


BUDGET = Decider(category="budget", initial=INITIAL, evolve=evolve)


def reserve(ledger: Ledger, limits: Budget, call_ref: str, bound: Bound) -> BudgetReserved | None:
    """Return the reservation of a call; None: it is reserved already, or does not fit."""
    if call_ref in ledger.open:
        return None
    decision = decide(ledger, limits, call_ref, bound)
    return decision.event if isinstance(decision, Reserve) else None


def settle(ledger: Ledger, call_ref: str, usage: Usage | None) -> BudgetSettled | None:
    """Return the settlement of a call; None: it is not reserved.

    Args:
        usage: None: unknown, so all of the reservation counts.
    """
    reserved = ledger.open.get(call_ref)
    if reserved is None:
        return None
    if usage is None:
        return BudgetSettled(call_ref=call_ref, tokens=reserved.tokens, cost_microusd=reserved.cost_microusd)
    tokens = min(MAX_TOKENS, usage.input_tokens + usage.output_tokens)
    return BudgetSettled(call_ref=call_ref, tokens=tokens, cost_microusd=usage.cost_microusd)


def decide(ledger: Ledger, limits: Budget, call_ref: str, bound: Bound) -> Decision:
    """Return whether a call fits, and how long its completion may be."""
    if limits.max_calls is not None and ledger.calls >= limits.max_calls:
        return Exhausted("max_calls", f"{ledger.calls} of {limits.max_calls} model calls are made")
    if limits.max_cost_microusd is not None and (bound.input_price is None or bound.output_price is None):
        return Exhausted(
            "max_cost_microusd",
            "the cost of the model is unknown; set inference.openai_compatible.input_price and output_price",
        )
    wanted = DEFAULT_OUTPUT_TOKENS if bound.output_tokens is None else bound.output_tokens
    token_room, cost_room = _token_room(ledger, limits, bound), _cost_room(ledger, limits, bound)
    limit = "max_cost_microusd" if cost_room < token_room else "max_tokens"
    room = min(wanted, token_room, cost_room)
    if room < wanted and room < ENOUGH_OUTPUT_TOKENS and ledger.open:
        return Hold()
    if room < min(wanted, MIN_OUTPUT_TOKENS):
        return Exhausted(limit, _exhausted_text(ledger, limits, limit, bound))
    return Reserve(_reservation(call_ref, bound, room), room)


def _token_room(ledger: Ledger, limits: Budget, bound: Bound) -> int:
    """Return the output tokens the token limit leaves for a call; negative: none."""
    if limits.max_tokens is None:
        return _UNLIMITED
    reserved = sum(call.tokens for call in ledger.open.values())
    return limits.max_tokens - ledger.tokens - reserved - bound.input_tokens


def _cost_room(ledger: Ledger, limits: Budget, bound: Bound) -> int:
    """Return the output tokens the cost limit leaves for a call; negative: none."""
    if limits.max_cost_microusd is None or bound.input_price is None or bound.output_price is None:
        return _UNLIMITED
    reserved = sum(call.cost_microusd for call in ledger.open.values())
    fixed = bound.fixed_microusd + _up(bound.input_tokens * bound.input_price)
    left = limits.max_cost_microusd - ledger.cost_microusd - reserved - fixed
    if left < 0:
        return -1
    return int(left / bound.output_price) if bound.output_price > 0 else _UNLIMITED


def _reservation(call_ref: str, bound: Bound, output_tokens: int) -> BudgetReserved:
    cost = bound.fixed_microusd
    cost += _up(bound.input_tokens * (bound.input_price or 0.0) + output_tokens * (bound.output_price or 0.0))
    tokens = min(MAX_TOKENS, bound.input_tokens + output_tokens)
    return BudgetReserved(call_ref=call_ref, tokens=tokens, cost_microusd=min(MAX_COST_MICROUSD, cost))


def _exhausted_text(ledger: Ledger, limits: Budget, limit: str, bound: Bound) -> str:
    if limit == "max_tokens":
        needed = f"the next call may need {bound.input_tokens} and more"
        return f"{ledger.tokens} of {limits.max_tokens} tokens are used; {needed}"
    used, most = ledger.cost_microusd / 1e6, (limits.max_cost_microusd or 0) / 1e6
    return f"${used:.6f} of ${most:.6f} is spent; the next call may cost more than is left"


def _up(amount: float) -> int:
    return int(-(-amount // 1))
