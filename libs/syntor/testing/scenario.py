"""Given events, when something happens, then these events or this rejection: tests of deciders read like that.

Invariant: nothing but the pure functions runs; time is what the test says.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Generic, TypeVar

from syntor.contracts.errors import RejectionError
from syntor.eventsourcing.decider import Decider, fold

S = TypeVar("S")
E = TypeVar("E")
R = TypeVar("R", bound=RejectionError)

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)  # log time of a decision unless the test says another
MAX_EVENTS = 1000  # events of one decision; above it the decider never comes to an end


class Scenario(Generic[S, E]):
    """One story of an aggregate: `given(...)`, `when(...)`, then what the decider answers."""

    def __init__(self, decider: Decider[S, E]) -> None:
        self._decider = decider
        self.state = decider.initial
        """State after everything given and decided so far."""

    def given(self, *events: E) -> Scenario[S, E]:
        """Fold events that happened before."""
        self.state = fold(self._decider.evolve, self.state, events)
        return self

    def when(self, decide: Callable[[S, datetime], E | None] | None = None, *, at: datetime = EPOCH) -> Outcome[S, E]:
        """Ask for decisions until there is none more, or the decider refuses.

        Args:
            decide: a command's decider; None: the aggregate's own.
        """
        ask = decide or self._decider.decide
        events: list[E] = []
        try:
            while (event := ask(self.state, at)) is not None:
                events.append(event)
                self.state = self._decider.evolve(self.state, event)
                assert len(events) <= MAX_EVENTS, f"the decider never comes to an end: {events[-3:]}"
        except RejectionError as exc:
            return Outcome(self, events, exc)
        return Outcome(self, events, None)


class Outcome(Generic[S, E]):
    """What was decided."""

    def __init__(self, scenario: Scenario[S, E], events: list[E], rejection: RejectionError | None) -> None:
        self.scenario = scenario
        self.events = events
        self.rejection = rejection

    def then(self, *events: E) -> Scenario[S, E]:
        """Expect exactly these events, in this order; the story can go on."""
        if self.rejection is not None:
            raise AssertionError(f"expected {events}, but it was refused") from self.rejection
        assert self.events == list(events), f"expected {list(events)}, decided {self.events}"
        return self.scenario

    def then_nothing(self) -> Scenario[S, E]:
        """Expect no event; the story can go on."""
        return self.then()

    def then_rejected(self, kind: type[R]) -> R:
        """Expect a refusal without any event; return it."""
        assert self.events == [], f"expected {kind.__name__}, decided {self.events}"
        assert isinstance(self.rejection, kind), f"expected {kind.__name__}, found {self.rejection!r}"
        return self.rejection


def scenario(decider: Decider[S, E]) -> Scenario[S, E]:
    """Begin a story with the aggregate's initial state."""
    return Scenario(decider)
