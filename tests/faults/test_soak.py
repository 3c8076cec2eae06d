"""A short soak test under injected faults; the long one: `python -m syntor.faults --points 500`."""

from __future__ import annotations

from pathlib import Path

from syntor.faults.soak_test import run

SEED, POINTS = 20261121, 30


def test_whatever_is_killed_stopped_or_restarted_everything_holds(tmp_path: Path) -> None:
    report = run(tmp_path, SEED, POINTS)
    print(report.text())
    assert sum(report.injected.values()) == POINTS
    assert report.runs > 50
    assert report.violations == [], report.text()
