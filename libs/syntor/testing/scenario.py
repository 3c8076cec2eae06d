"""Scenarios for deciders: given events, when a command is decided, then these events or this rejection.

Invariant: nothing but the pure functions of a `Decider` runs; time is what the test says.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Generic, TypeVar

from syntor.contracts.errors import RejectionError
from syntor.contracts.events import Event
from syntor.eventsourcing.decider import Decider

S = TypeVar("S")
R = TypeVar("R", bound=RejectionError)

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)  # log time of a decision unless the test says another
MAX_EVENTS = 1000  # events of one decision; above it the decider never comes to an end


class Scenario(Generic[S]):
    """One scenario of an aggregate: `given(...)`, `when(...)`, then the decided events."""

    def __init__(self, decider: Decider[S]) -> None:
        self._decider = decider
        self.state = decider.initial
        """State after everything given and decided so far."""

    def given(self, *events: Event, at: datetime = EPOCH) -> Scenario[S]:
        """Fold events that happened before."""
        self.state = self._decider.fold(self.state, ((event, at) for event in events))
        return self

    def when(self, decide: Callable[[S, datetime], Event | None], *, at: datetime = EPOCH) -> Outcome[S]:
        """Decide until no event is called for, or the decider rejects.

        Args:
            decide: a command's decision.
        """
        events: list[Event] = []
        try:
            while (event := decide(self.state, at)) is not None:
                events.append(event)
                self.state = self._decider.evolve(self.state, event, at)
                assert len(events) <= MAX_EVENTS, f"the decider never comes to an end: {events[-3:]}"
        except RejectionError as exc:
            return Outcome(self, events, exc)
        return Outcome(self, events, None)


class Outcome(Generic[S]):
    """What was decided."""

    def __init__(self, scenario: Scenario[S], events: list[Event], rejection: RejectionError | None) -> None:
        self.scenario = scenario
        self.events = events
        self.rejection = rejection

    def then(self, *events: Event) -> Scenario[S]:
        """Expect exactly these events, in this order; the scenario can continue."""
        if self.rejection is not None:
            raise AssertionError(f"expected {events}, but it was rejected") from self.rejection
        assert self.events == list(events), f"expected {list(events)}, decided {self.events}"
        return self.scenario

    def then_nothing(self) -> Scenario[S]:
        """Expect no event; the scenario can continue."""
        return self.then()

    def then_rejected(self, kind: type[R]) -> R:
        """Expect a rejection without any event; return it."""
        assert self.events == [], f"expected {kind.__name__}, decided {self.events}"
        assert isinstance(self.rejection, kind), f"expected {kind.__name__}, found {self.rejection!r}"
        return self.rejection


def scenario(decider: Decider[S]) -> Scenario[S]:
    """Start a scenario with the aggregate's initial state."""
    return Scenario(decider)
