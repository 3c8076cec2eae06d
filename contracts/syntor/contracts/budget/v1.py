"""Budget events, schema version 1. Frozen once released: only optional fields are added.

A budget belongs to a run (its id), a session (its id) or an agent for a day (`<agent>-<YYYYMMDD>`, UTC). Before a model
call the caller reserves the most the call can use; after it, it settles what was used.
"""

from __future__ import annotations

import msgspec

from syntor.contracts.bounds import CostMicrousd, Id, Tokens


class BudgetReserved(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Tokens and cost are reserved for one model call."""

    call_ref: Id
    """`<run_id>.<task_id>.<call>`."""
    tokens: Tokens = 0
    """Most input and output tokens it can use."""
    cost_microusd: CostMicrousd = 0
    """Most it can cost, in millionths of a US dollar."""


class BudgetSettled(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The call ended; what it did not use is released."""

    call_ref: Id
    """Call that ended."""
    tokens: Tokens = 0
    """Input and output tokens used; all that was reserved where usage is unknown."""
    cost_microusd: CostMicrousd = 0
    """Its cost, in millionths of a US dollar."""


BudgetEvent = BudgetReserved | BudgetSettled
EVENTS: tuple[type[BudgetEvent], ...] = (BudgetReserved, BudgetSettled)
