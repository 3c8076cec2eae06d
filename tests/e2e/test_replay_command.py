"""Read models are derived: an altered one is found, a lost one comes back, and the past can be shown."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import httpx2
import pytest

from syntor.testing.local_stack import LocalStack


@pytest.fixture(scope="module")
def run_ids(stack: LocalStack) -> list[str]:
    """Three runs that ended."""
    return [
        httpx2.post(
            f"{stack.url}/v1/runs", json={"agent": "git", "input": f"run {number}"}, headers={"Prefer": "wait=30"}
        ).json()["run_id"]
        for number in range(3)
    ]


def test_a_true_read_model_verifies(stack: LocalStack, run_ids: list[str]) -> None:
    verified = stack.syntor("replay", "--verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_an_altered_row_is_reported_with_position_expected_and_found(stack: LocalStack, run_ids: list[str]) -> None:
    with closing(sqlite3.connect(stack.home / "data" / "readmodel.db", timeout=10)) as database:
        database.execute("UPDATE runs SET final_message = 'forged' WHERE run_id = ?", (run_ids[1],))
        database.commit()
    verified = stack.syntor("replay", "--verify")
    assert verified.returncode == 7, verified.stdout + verified.stderr
    report = verified.stdout + verified.stderr
    assert run_ids[1] in report
    assert "forged" in report
    assert "The scripted answer." in report
    assert "position" in report
    rebuilt = stack.syntor("replay")
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert stack.syntor("replay", "--verify").returncode == 0


def test_a_removed_database_comes_back(stack: LocalStack, run_ids: list[str], wait_for: Callable[..., Any]) -> None:
    for path in (stack.home / "data").glob("readmodel.db*"):
        path.unlink()
    rebuilt = stack.syntor("replay")
    assert rebuilt.returncode == 0, rebuilt.stdout + rebuilt.stderr
    listed = json.loads(stack.syntor("runs", "list", "-o", "json").stdout)
    assert set(run_ids) <= {run["run_id"] for run in listed["runs"]}
    answered = stack.syntor("chat", "still there?")
    assert answered.returncode == 0, answered.stderr
    assert stack.syntor("replay", "--verify").returncode == 0


def test_an_export_is_valid_input_of_a_replay(stack: LocalStack, run_ids: list[str]) -> None:
    exported = stack.syntor("runs", "export", run_ids[0])
    assert exported.returncode == 0, exported.stderr
    replayed = stack.syntor("replay", "--from", "-", "--verify", stdin=exported.stdout)
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    lines = exported.stdout.splitlines()
    forged = [line.replace("The scripted answer.", "forged") if '"run_done"' in line else line for line in lines]
    mismatch = stack.syntor("replay", "--from", "-", "--verify", stdin="\n".join(forged) + "\n")
    assert mismatch.returncode == 7, mismatch.stdout + mismatch.stderr


def test_until_shows_the_state_at_a_position(stack: LocalStack, run_ids: list[str]) -> None:
    events = httpx2.get(f"{stack.url}/v1/runs/{run_ids[2]}/events").json()["events"]
    started = next(event["position"] for event in events if event["type"] == "run_started")
    shown = stack.syntor("replay", "--until", str(started), "-o", "json")
    assert shown.returncode == 0, shown.stderr
    state = {run["run_id"]: run["status"] for run in json.loads(shown.stdout)["runs"]}
    assert state[run_ids[2]] == "running"
    beyond = stack.syntor("replay", "--until", "100000000")
    assert beyond.returncode == 2, beyond.stdout
    assert "--until 100000000: beyond the end of the log, " in beyond.stderr
