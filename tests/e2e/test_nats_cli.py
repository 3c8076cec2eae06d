"""The documented commands of the NATS CLI show something useful; skipped where it is not installed."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import httpx2
import pytest

from syntor.testing.local_stack import LocalStack

NATS = shutil.which("nats")
pytestmark = pytest.mark.skipif(NATS is None, reason="the NATS CLI (`nats`) is not on PATH")


def _command(stack: LocalStack, *, admin: bool = False) -> list[str]:
    key = stack.home / "nats-keys" / ("admin.nk" if admin else "observer.nk")
    return [NATS or "nats", "--server", stack.nats_url, "--nkey", str(key)]


def _nats(stack: LocalStack, *arguments: str, admin: bool = False) -> str:
    done = subprocess.run(
        [*_command(stack, admin=admin), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_micro_lists_every_service_with_its_description(stack: LocalStack) -> None:
    listed = _nats(stack, "micro", "ls")
    for name in ("ingress", "orchestrator", "registry", "projector", "agent-worker"):
        assert name in listed
    assert "syntor.rpc.registry.register_agent" in _nats(stack, "micro", "info", "registry")
    assert "list_runs" in _nats(stack, "micro", "stats", "projector")


def test_a_run_can_be_watched(stack: LocalStack) -> None:
    watching = subprocess.Popen(
        [*_command(stack), "sub", "syntor.events.*.watched.>", "--count", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert watching.stdout is not None
    assert "Subscribing" in watching.stdout.readline()
    _nats(stack, "pub", "syntor.events.request.watched.cancel_requested", "{}", admin=True)
    output = watching.stdout.read()
    watching.stdout.close()
    assert watching.wait(10) == 0
    assert "cancel_requested" in output
    assert "syntor.events.agent." in _nats(stack, "stream", "get", "SYNTOR_EVENTS", "1")


def test_reports_name_streams_and_consumers(stack: LocalStack) -> None:
    assert "orchestrator-decisions" in _nats(stack, "consumer", "report", "SYNTOR_EVENTS")
    assert "The log: every event, in order, kept indefinitely" in _nats(stack, "stream", "ls")


def test_a_large_input_is_an_object_by_its_digest(stack: LocalStack, tmp_path: Path) -> None:
    text = "word " * 60_000
    response = httpx2.post(f"{stack.url}/v1/runs", json={"agent": "worker", "input": text}, timeout=30)
    assert response.status_code == 202, response.text
    listed = _nats(stack, "object", "ls", "SYNTOR_BLOBS", "--names", admin=True)
    name = next(line.strip() for line in listed.splitlines() if len(line.strip()) == 64)
    target = tmp_path / "blob"
    _nats(stack, "object", "get", "SYNTOR_BLOBS", name, "--output", str(target), "--force", "--no-progress", admin=True)
    assert hashlib.sha256(target.read_bytes()).hexdigest() == name
