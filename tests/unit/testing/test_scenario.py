"""Scenarios tell what a decider answers."""

from __future__ import annotations

from datetime import datetime

import msgspec
import pytest

from syntor.contracts.errors import ConflictError, NotFoundError
from syntor.eventsourcing.decider import Decider
from syntor.testing.scenario import scenario


class Raised(msgspec.Struct, frozen=True):
    by: int


def decide_to_three(level: int, at: datetime) -> Raised | None:
    return Raised(1) if level < 3 else None


LEVEL: Decider[int, Raised] = Decider(initial=0, evolve=lambda level, event: level + event.by, decide=decide_to_three)


def lower(level: int, at: datetime) -> Raised | None:
    if level < 5:
        raise ConflictError(f"level {level} cannot be lowered")
    return None


def test_decisions_are_asked_for_until_there_is_none() -> None:
    story = scenario(LEVEL).given(Raised(1)).when().then(Raised(1), Raised(1))

    story.when().then_nothing()
    assert story.state == 3


def test_a_refusal_is_returned() -> None:
    rejection = scenario(LEVEL).given(Raised(4)).when(lower).then_rejected(ConflictError)

    assert str(rejection) == "level 4 cannot be lowered"


def test_other_events_than_expected_fail() -> None:
    with pytest.raises(AssertionError, match="decided"):
        scenario(LEVEL).when().then(Raised(1))


def test_a_refusal_nobody_expected_fails() -> None:
    with pytest.raises(AssertionError, match="refused"):
        scenario(LEVEL).when(lower).then_nothing()


def test_another_refusal_than_expected_fails() -> None:
    with pytest.raises(AssertionError, match="NotFoundError"):
        scenario(LEVEL).when(lower).then_rejected(NotFoundError)
