"""Budget events, schema version 1. Frozen once released: only optional fields are added.

A budget belongs to a run (its id), a session (its id) or an agent for a day (`<agent>-<YYYYMMDD>`, UTC). Whoever is
about to call a model reserves the most that the call can use, and settles what it did use.
"""

from __future__ import annotations

import msgspec


class BudgetReserved(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A model call may use this much; nobody else may."""

    call_ref: str
    """`<run_id>.<task_id>.<call>`."""
    tokens: int = 0
    """Most input and output tokens it can use."""
    cost_microusd: int = 0
    """Most money it can cost, in millionths of a US dollar."""


class BudgetSettled(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The call ended; what it did not use is free again."""

    call_ref: str
    """Call that ended."""
    tokens: int = 0
    """Input and output tokens it used; all that was reserved where nobody knows."""
    cost_microusd: int = 0
    """Money it cost."""


BudgetEvent = BudgetReserved | BudgetSettled
EVENTS: tuple[type[BudgetEvent], ...] = (BudgetReserved, BudgetSettled)
