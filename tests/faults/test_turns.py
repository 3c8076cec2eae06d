"""A hundred turns of one session on two orchestrators and two ingresses; more: `python -m syntor.faults.turns`."""

from __future__ import annotations

from pathlib import Path

from syntor.faults.turns import run

TURNS = 120


def test_turns_of_one_session_are_never_interleaved_lost_or_done_twice(tmp_path: Path) -> None:
    report = run(tmp_path, TURNS)
    assert report.faults == [], report.text()
