"""A short soak test under injected faults; the long one: `python -m syntor.faults --points 500`."""

from __future__ import annotations

from pathlib import Path

from syntor.faults.soak_test import run

SEED, POINTS = 20261121, 30


def test_all_invariants_hold_under_injected_faults(tmp_path: Path) -> None:
    report = run(tmp_path, SEED, POINTS)
    print(report.text())
    assert sum(report.injected.values()) == POINTS
    assert report.runs > 50
    assert report.violations == [], report.text()
