"""A run is called stopped when the log has its cancellation, however long the log takes nothing before."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest

from syntor.testing.local_stack import LocalStack

WAIT_S = 60.0


def chat(stack: LocalStack, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "syntor.cli.main", "chat", "slow", *arguments],
        env=stack.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=interruptible,
    )


def interruptible() -> None:
    """Take SIGINT, which is ignored below a shell's background job."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def without_log(pid: int) -> Generator[Callable[[], None]]:
    """Stop a NATS server inside the block, or until the function it yields is called."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield lambda: os.kill(pid, signal.SIGCONT)
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_is_stopped_once_the_log_has_it(
    stack: LocalStack, http: httpx2.Client, wait_for: Callable[..., Any], number: int
) -> None:
    nats: int = stack.service("nats")["pid"]
    process = chat(stack, "-o", "json")
    run = wait_for(lambda: http.get("/v1/runs", params={"limit": 1, "status": "running"}).json()["runs"])[0]
    with without_log(nats) as go_on:
        process.send_signal(number)
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith("note: not stopped yet: ")
        assert process.poll() is None
        go_on()
        output, errors = process.communicate(timeout=WAIT_S)
    outcome = json.loads(output)
    assert process.returncode == 128 + number
    assert outcome["run_id"] == run["run_id"]
    view = wait_for(lambda: (v := http.get(f"/v1/runs/{run['run_id']}").json())["ended_at"] and v)
    assert (outcome["status"], view["status"]) == ("cancelled", "cancelled"), errors


def test_who_leaves_while_the_log_takes_nothing_is_told_that_the_run_continues(
    stack: LocalStack, http: httpx2.Client, wait_for: Callable[..., Any]
) -> None:
    nats: int = stack.service("nats")["pid"]
    process = chat(stack)
    run = wait_for(lambda: http.get("/v1/runs", params={"limit": 1, "status": "running"}).json()["runs"])[0]
    with without_log(nats):
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        while not process.stderr.readline().startswith("note: not stopped yet: "):
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=WAIT_S)
    assert process.returncode == 143
    assert f"run: syntor runs cancel {run['run_id']}" in errors
    assert "cancelled" not in errors
    wait_for(lambda: http.get(f"/v1/runs/{run['run_id']}").json().get("ended_at"))
