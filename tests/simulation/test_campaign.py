"""Seeds of the simulation: none fails, three deliberate defects are found, and a seed is the same wherever it runs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from syntor.simulation import campaign
from syntor.simulation.mutants import MUTANTS
from syntor.simulation.world import run_seed

SEEDS = 500
MUTANT_SEEDS = 1000  # within which each defect must be found; the first dozens find it
JOBS = os.cpu_count() or 1


@pytest.mark.timeout(600)
def test_nothing_goes_wrong_in_any_seed() -> None:
    summary = campaign.run(1, SEEDS, jobs=JOBS)
    assert [(report.seed, report.violations) for report in summary.failed] == []
    assert summary.seeds == SEEDS
    assert summary.events > SEEDS * 20


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mutant", sorted(MUTANTS))
def test_a_deliberate_defect_is_found(mutant: str) -> None:
    summary = campaign.run(1, MUTANT_SEEDS, jobs=JOBS, mutant=mutant, stop_at=1)
    assert summary.failed


def test_a_seed_gives_the_same_log_in_every_process() -> None:
    environment = {**os.environ, "PYTHONHASHSEED": "random"}
    command = [sys.executable, "-m", "syntor.simulation", "--seed", "17"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=True)
    run_seed(16)
    report = run_seed(17)
    assert report.violations == []
    assert f"log {report.digest}" in done.stdout


def test_a_trace_shows_what_happened() -> None:
    lines: list[str] = []
    run_seed(1, lines.append)
    text = "\n".join(lines)
    for expected in ("orchestrator-1 starts", "user_input", "run_started", "turn_released"):
        assert expected in text
