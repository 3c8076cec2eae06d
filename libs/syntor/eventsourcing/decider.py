"""The shape of every decision: state in, at most one event out, asked again until it answers None."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Generic, TypeVar

import msgspec

S = TypeVar("S")
E = TypeVar("E")


class Decider(msgspec.Struct, Generic[S, E], frozen=True):
    """The pure functions of one aggregate."""

    initial: S
    """State before the first event."""
    evolve: Callable[[S, E], S]
    """Apply one fact; never raises."""
    decide: Callable[[S, datetime], E | None]
    """Next event the state calls for at that instant, or None."""


def fold(evolve: Callable[[S, E], S], state: S, events: Iterable[E]) -> S:
    """Apply events in order; folding in two parts equals folding once."""
    for event in events:
        state = evolve(state, event)
    return state
