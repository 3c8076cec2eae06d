"""Scenarios tell what a decider answers."""

from __future__ import annotations

from datetime import datetime

import msgspec
import pytest

from syntor.contracts.errors import ConflictError, NotFoundError
from syntor.contracts.events import Event
from syntor.eventsourcing.decider import Decider
from syntor.testing.scenario import scenario


class Raised(msgspec.Struct, frozen=True):
    by: int


def decide_to_three(level: int, at: datetime) -> Raised | None:
    return Raised(1) if level < 3 else None


def evolve(level: int, event: Event, at: datetime) -> int:
    return level + event.by if isinstance(event, Raised) else level


LEVEL: Decider[int] = Decider(category="level", initial=0, evolve=evolve)


def lower(level: int, at: datetime) -> Raised | None:
    if level < 5:
        raise ConflictError(f"level {level} cannot be lowered")
    return None


def test_decisions_are_asked_for_until_there_is_none() -> None:
    story = scenario(LEVEL).given(Raised(1)).when(decide_to_three).then(Raised(1), Raised(1))

    story.when(decide_to_three).then_nothing()
    assert story.state == 3


def test_a_refusal_is_returned() -> None:
    rejection = scenario(LEVEL).given(Raised(4)).when(lower).then_rejected(ConflictError)

    assert str(rejection) == "level 4 cannot be lowered"


def test_other_events_than_expected_fail() -> None:
    with pytest.raises(AssertionError, match="decided"):
        scenario(LEVEL).when(decide_to_three).then(Raised(1))


def test_a_refusal_nobody_expected_fails() -> None:
    with pytest.raises(AssertionError, match="rejected"):
        scenario(LEVEL).when(lower).then_nothing()


def test_another_refusal_than_expected_fails() -> None:
    with pytest.raises(AssertionError, match="NotFoundError"):
        scenario(LEVEL).when(lower).then_rejected(NotFoundError)
