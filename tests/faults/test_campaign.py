"""A short campaign of injected faults; the long one: `python -m syntor.faults --points 500`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from syntor.faults.campaign import Options, run
from syntor.stack.identity import is_alive
from syntor.stack.layout import Layout
from syntor.stack.state import read_state

SEED, POINTS = 20261121, 30
DEADLINE_S = 180.0


def test_all_invariants_hold_under_injected_faults(tmp_path: Path) -> None:
    report = run(tmp_path, Options(seed=SEED, points=POINTS))
    print(report.text())
    assert sum(report.injected.values()) == POINTS
    assert report.runs > 50
    assert report.violations == [], report.text()


def test_a_campaign_that_is_ended_takes_its_stack_down_and_reports(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "syntor.faults", "--seed", "2", "--points", "500", "--only", "process"]
    campaign = subprocess.Popen([*command, "--keep", str(tmp_path / "home")], stdout=subprocess.PIPE, text=True)
    state = Layout(tmp_path / "home" / "stack").state
    waiting = threading.Event()
    for _ in range(int(DEADLINE_S / 0.1)):
        found = read_state(state)
        if found is not None and found.phase == "ready":
            break
        assert campaign.poll() is None
        waiting.wait(0.1)
    else:
        raise AssertionError("the stack did not start")
    os.kill(campaign.pid, signal.SIGHUP)
    output, _ = campaign.communicate(timeout=DEADLINE_S)
    assert "ended early by SIGHUP" in output
    assert campaign.returncode == 130
    assert not is_alive(found.pid, found.mark)
    assert not any(row.pid and is_alive(row.pid, row.mark) for row in found.services)
