"""The pure part of an aggregate, as one value: what the aggregate shell, replay and the test kit share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Generic, TypeVar

import msgspec

from syntor.contracts.events import Event

S = TypeVar("S")


class Decider(msgspec.Struct, Generic[S], frozen=True):
    """The pure part every command of an aggregate shares."""

    category: str
    """Category of its events in the event table."""
    initial: S
    """State before the first event."""
    evolve: Callable[[S, Event, datetime], S]
    """Apply one event, given its envelope time; never raises, ignores events it does not handle."""

    def fold(self, state: S, events: Iterable[tuple[Event, datetime]]) -> S:
        """Apply events in order; folding in two parts equals folding once."""
        for event, at in events:
            state = self.evolve(state, event, at)
        return state
