"""A model that repeats itself is told first, and only then has to answer."""

from __future__ import annotations

import pytest

from syntor.agentkit.domain.call_loop import Round, Stage, stage

A, B = Round(frozenset({("read", "a")}), False), Round(frozenset({("read", "b")}), False)
EDIT, TEST = Round(frozenset({("edit", "a")}), True), Round(frozenset({("bash", "pytest")}), True)


@pytest.mark.parametrize(
    ("rounds", "small", "other"),
    [
        ([], "work", "work"),
        ([A], "work", "work"),
        ([A, B], "work", "work"),
        ([A, A], "nudge", "work"),
        ([A, B, A], "nudge", "work"),
        ([A, A, A], "answer", "nudge"),
        ([A, A, A, A], "answer", "work"),
        ([A, A, A, A, A], "answer", "answer"),
        ([A, A, B], "work", "work"),
        ([A, EDIT, A], "work", "work"),
        ([TEST, EDIT, TEST], "work", "work"),
        ([EDIT, EDIT], "nudge", "work"),
    ],
)
def test_repetition_is_counted_since_something_changed(rounds: list[Round], small: Stage, other: Stage) -> None:
    assert (stage(rounds, small=True), stage(rounds, small=False)) == (small, other)
