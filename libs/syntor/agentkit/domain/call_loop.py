"""Judges whether a model repeats itself: a nudge first, and only then an answer without tools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

Stage = Literal["work", "nudge", "answer"]
"""work: nothing repeats; nudge: tell the model; answer: it gets no more tools and has to answer."""

_NUDGE_AT, _ANSWER_AT = {True: 1, False: 2}, {True: 2, False: 4}  # repeated rounds, for a small and for another model


class Round(msgspec.Struct, frozen=True):
    """The tool calls of one turn of a model."""

    calls: frozenset[tuple[str, str]]
    """Name and arguments of each."""
    changes: bool
    """Whether one of them may have changed something, so that the same call later is no repetition."""


def stage(rounds: Sequence[Round], *, small: bool) -> Stage:
    """Return what a model's newest round calls for.

    A round repeats if all its calls were made before, since something last changed.
    """
    repeated = 0
    seen: set[tuple[str, str]] = set()
    for each in rounds:
        repeated = repeated + 1 if each.calls <= seen else 0
        if each.changes and not each.calls <= seen:
            seen.clear()
        seen |= each.calls
    if repeated >= _ANSWER_AT[small]:
        return "answer"
    return "nudge" if repeated == _NUDGE_AT[small] else "work"
