"""Runs of a session take turns, in the order they asked, whatever happens to them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from syntor.contracts.events import Event
from syntor.contracts.session.v1 import TurnQueued, TurnReleased, TurnTaken
from syntor.orchestrator.domain.session import INITIAL, Session, before, decide, evolve


def _settle(session: Session, run_id: str, *, ended: bool) -> tuple[Session, list[Event]]:
    decided: list[Event] = []
    while (event := decide(session, run_id, ended=ended)) is not None:
        session = evolve(session, event)
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


def test_a_run_that_ended_without_asking_changes_nothing() -> None:
    assert _settle(INITIAL, "a", ended=True)[1] == []


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=30))
def test_never_two_runs_hold_the_turn_and_none_is_forgotten(steps: list[tuple[str, bool]]) -> None:
    session, holder, asked, ended = INITIAL, "", [], set[str]()
    for run_id, end in steps:
        if not end and run_id not in asked:
            asked.append(run_id)
        if end and run_id in asked:
            ended.add(run_id)
        if run_id not in asked or (not end and run_id in ended):
            continue
        session, decided = _settle(session, run_id, ended=end)
        for event in decided:
            if isinstance(event, TurnTaken):
                assert holder == ""
                holder = event.run_id
            elif isinstance(event, TurnReleased) and event.run_id == holder:
                holder = ""
    assert session.holder == holder
    waiting = [run_id for run_id in asked if run_id not in ended and run_id != holder]
    assert set(waiting) == set(session.queue)
    assert not (waiting and not holder)
