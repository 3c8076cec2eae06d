"""A short session-ordering test; the long one: `python -m syntor.faults.session_ordering`."""

from __future__ import annotations

from pathlib import Path

from syntor.faults.session_ordering import run

TURNS = 120


def test_turns_of_one_session_are_never_interleaved_lost_or_repeated(tmp_path: Path) -> None:
    report = run(tmp_path, TURNS)
    assert report.violations == [], report.text()
