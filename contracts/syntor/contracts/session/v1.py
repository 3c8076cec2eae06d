"""Session events, schema version 1. Frozen once released: only optional fields are added."""

from __future__ import annotations

import msgspec


class TurnQueued(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A run waits for the turn, behind those that came before."""

    run_id: str
    """Run that waits."""


class TurnTaken(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A run has the turn; no other run of the session works until it is released."""

    run_id: str
    """Run that has it."""


class TurnReleased(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The run ended; the next in the queue may take the turn."""

    run_id: str
    """Run that had it."""


SessionEvent = TurnQueued | TurnTaken | TurnReleased
EVENTS: tuple[type[SessionEvent], ...] = (TurnQueued, TurnTaken, TurnReleased)
