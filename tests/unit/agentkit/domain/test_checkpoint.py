"""What agents changed over several states, and when an undo would take someone else's work."""

from __future__ import annotations

import pytest

from syntor.agentkit.domain.checkpoint import (
    BLOCKED,
    NOT_KEPT,
    UNKNOWN,
    Entry,
    LeftOut,
    Mark,
    Segment,
    Step,
    Touch,
    Value,
    known_delta,
    plan_undo,
    segments,
    shown,
    touches,
)
from syntor.contracts.vocabulary import CheckpointMoment

A, B, C = (Entry("file", 0o644, name) for name in "abc")
PATH = b"p"


def _agents(before: Value, after: Value) -> Step:
    return Step({PATH: (before, after)}, by_agents=True)


def _others(before: Value, after: Value) -> Step:
    return Step({PATH: (before, after)}, by_agents=False)


def _mark(run: str, task: str, moment: CheckpointMoment, id_: str) -> Mark:
    return Mark(run, task, moment, id_)


def test_stretches_of_parallel_tasks_are_one() -> None:
    marks = [
        _mark("r1", "t1", "before", "1"),
        _mark("r1", "t2", "before", "2"),
        _mark("r1", "t1", "after", "3"),
        _mark("r1", "t2", "after", "4"),
        _mark("r1", "t1", "before", "5"),
        _mark("r1", "t1", "after", "6"),
    ]
    assert segments(marks) == [Segment("1", "4", "r1"), Segment("5", "6", "r1")]


def test_a_stretch_that_a_death_left_open_is_not_certain() -> None:
    marks = [_mark("r1", "t1", "before", "1"), _mark("r2", "t1", "before", "2")]
    assert segments(marks) == [Segment("1", "2", "r1", certain=False), Segment("2", "", "r2", certain=False)]


def test_the_target_is_what_was_there_before_agents_first_changed_it() -> None:
    assert touches([_others(A, B), _agents(B, C)]) == {PATH: Touch(B, C)}
    assert touches([_agents(A, B), _agents(B, C)]) == {PATH: Touch(A, C)}
    assert touches([_agents(A, B), _agents(B, A)]) == {}


def test_a_change_of_others_between_two_of_agents_is_remembered() -> None:
    assert touches([_agents(A, B), _others(B, C), _agents(C, None)])[PATH].others
    assert not touches([_agents(A, B), _others(B, C), _others(C, B), _agents(B, C)])[PATH].others


@pytest.mark.parametrize(
    ("touch", "now", "why"),
    [
        (Touch(A, B), B, ""),
        (Touch(A, B), C, "someone else changed it since"),
        (Touch(A, B), None, "someone else deleted it since"),
        (Touch(A, None), B, "someone else created it since"),
        (Touch(A, UNKNOWN), C, "agents left it too large to be kept"),
        (Touch(A, B, others=True), B, "someone else may have changed it between changes of agents"),
    ],
)
def test_only_what_agents_left_is_taken_back_unless_it_is_forced(touch: Touch, now: Value, why: str) -> None:
    plan = plan_undo({PATH: touch}, {PATH: now})
    assert [conflict.why for conflict in plan.conflicts] == ([why] if why else [])
    assert bool(plan.changes) is not bool(why)
    forced = plan_undo({PATH: touch}, {PATH: now}, force=True)
    assert [change.target for change in forced.changes] == [touch.target]


@pytest.mark.parametrize("now", [BLOCKED, Entry("file", 0o644, NOT_KEPT)])
def test_what_cannot_be_reached_or_kept_is_never_replaced(now: Entry) -> None:
    plan = plan_undo({PATH: Touch(A, B)}, {PATH: now}, force=True)
    assert (plan.changes, len(plan.conflicts)) == ([], 1)


def test_what_is_back_already_needs_nothing() -> None:
    plan = plan_undo({PATH: Touch(A, B, others=True)}, {PATH: A}, contested=[PATH])
    assert (plan.changes, plan.conflicts) == ([], [])


def test_what_one_state_does_not_hold_is_neither_new_nor_gone() -> None:
    delta = {b"d/f": (None, A), b"e/f": (A, None), b"big": (A, None), b"g": (A, None)}
    known = known_delta(delta, [LeftOut(b"d/", "ignored")], [LeftOut(b"e/", "unreadable"), LeftOut(b"big", "large", 1)])
    assert known == {b"big": (A, UNKNOWN), b"g": (A, None)}


def test_a_name_is_shown_on_one_line() -> None:
    assert shown(b"a\n\xff\x1b[2J") == "a\\n\\xff\\x1b[2J"
