"""A short campaign of faults on every run of the tests; the long one: `python -m syntor.faults --points 500`."""

from __future__ import annotations

from pathlib import Path

from syntor.faults.harness import run

SEED, POINTS = 20261121, 30


def test_whatever_is_killed_stopped_or_restarted_everything_holds(tmp_path: Path) -> None:
    report = run(tmp_path, SEED, POINTS)
    print(report.text())
    assert sum(report.struck.values()) == POINTS
    assert report.runs > 50
    assert report.violations == [], report.text()
