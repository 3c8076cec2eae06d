"""Runs of a session take turns, in the order of their requests, whatever happens to them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syntor.contracts.events import Event
from syntor.contracts.session.v1 import TurnQueued, TurnReleased, TurnTaken
from syntor.orchestrator.domain.session import (
    DECIDER,
    INITIAL,
    KEPT_FINISHED,
    KEPT_TURNS,
    Session,
    before,
    decide,
    evolve,
)

AT = datetime(2026, 11, 21, tzinfo=UTC)


def _fold(session: Session, events: list[Event]) -> Session:
    return DECIDER.fold(session, ((event, AT) for event in events))


def _settle(session: Session, run_id: str, *, ended: bool) -> tuple[Session, list[Event]]:
    decided: list[Event] = []
    while (event := decide(session, run_id, ended=ended)) is not None:
        session = evolve(session, event, AT)
        decided.append(event)
    return session, decided


def test_the_first_run_takes_the_turn_and_the_next_one_waits() -> None:
    session, decided = _settle(INITIAL, "a", ended=False)
    assert decided == [TurnTaken(run_id="a")]
    session, decided = _settle(session, "b", ended=False)
    assert decided == [TurnQueued(run_id="b")]
    assert _settle(session, "b", ended=False)[1] == []


def test_the_end_of_a_run_passes_the_turn_on() -> None:
    session, _ = _settle(INITIAL, "a", ended=False)
    session, _ = _settle(session, "b", ended=False)
    session, decided = _settle(session, "a", ended=True)
    assert decided == [TurnReleased(run_id="a"), TurnTaken(run_id="b")]
    assert before(session, "b") == ("a",)
    assert _settle(session, "a", ended=True)[1] == []


def test_a_run_cancelled_while_it_waits_leaves_the_queue() -> None:
    session, _ = _settle(INITIAL, "a", ended=False)
    session, _ = _settle(session, "b", ended=False)
    session, decided = _settle(session, "b", ended=True)
    assert decided == [TurnReleased(run_id="b")]
    assert session.holder == "a"
    assert _settle(session, "a", ended=True)[1] == [TurnReleased(run_id="a")]


def test_a_run_that_ended_before_it_requested_never_gets_the_turn() -> None:
    session, decided = _settle(INITIAL, "a", ended=True)
    assert decided == [TurnReleased(run_id="a")]
    assert _settle(session, "a", ended=True)[1] == []
    assert _settle(session, "a", ended=False)[1] == []
    assert _settle(session, "b", ended=False)[1] == [TurnTaken(run_id="b")]


def test_the_state_of_a_long_session_is_bounded() -> None:
    session = INITIAL
    for number in range(1000):
        session, _ = _settle(session, f"r{number}", ended=False)
        session, _ = _settle(session, f"r{number}", ended=True)
    assert len(session.turns) == KEPT_TURNS
    assert len(session.finished) == KEPT_FINISHED
    assert before(session, "r999")[-1] == "r998"


STEPS = st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=30)


def _play(steps: list[tuple[str, bool]]) -> list[Event]:
    session, events = INITIAL, list[Event]()
    for run_id, ended in steps:
        session, decided = _settle(session, run_id, ended=ended)
        events += decided
    return events


@given(STEPS)
def test_never_two_runs_hold_the_turn_and_none_is_forgotten(steps: list[tuple[str, bool]]) -> None:
    holder, waiting, ended = "", list[str](), set[str]()
    for event in _play(steps):
        match event:
            case TurnQueued(run_id=run_id):
                waiting.append(run_id)
            case TurnTaken(run_id=run_id):
                assert holder == ""
                assert run_id not in ended
                assert waiting[:1] in ([], [run_id])
                holder, waiting = run_id, waiting[1:]
            case TurnReleased(run_id=run_id):
                assert run_id not in ended
                ended.add(run_id)
                holder = "" if holder == run_id else holder
                waiting = [other for other in waiting if other != run_id]
            case _:
                pytest.fail(f"{event} is none of a session's")
    assert holder or not waiting
    requested = {run_id for run_id, end in steps if not end}
    assert requested <= ended | {holder, *waiting}
    assert {run_id for run_id, end in steps if end} == ended


@given(STEPS)
def test_asking_twice_adds_nothing(steps: list[tuple[str, bool]]) -> None:
    session = _fold(INITIAL, _play(steps))
    for run_id, ended in steps:
        again, decided = _settle(session, run_id, ended=ended or run_id in session.finished)
        assert (again, decided) == (session, [])


@given(STEPS, st.integers(0, 60))
def test_folding_in_two_parts_equals_folding_once(steps: list[tuple[str, bool]], cut: int) -> None:
    events = _play(steps)
    assert _fold(_fold(INITIAL, events[:cut]), events[cut:]) == _fold(INITIAL, events)
