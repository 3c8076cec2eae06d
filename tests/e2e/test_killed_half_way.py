"""Kill -9 of any process in the middle of a run: the run ends once, nothing finished is repeated, nothing is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from syntor.testing.local_stack import LocalStack

Follow = Callable[[httpx2.Response], Iterator[dict[str, Any]]]
SSE = {"Accept": "text/event-stream"}
TERMINAL = {"run_done", "run_failed", "run_cancelled"}
SERVICES = ["ingress", "orchestrator", "registry", "projector", "agent-worker", "nats"]
MOMENTS = ["task_assigned", "tool_result", "agent_stream_delta"]


def _events(stack: LocalStack, run_id: str) -> list[dict[str, Any]]:
    """Return all events of a run, or nothing while the ingress is unavailable."""
    try:
        response = httpx2.get(f"{stack.url}/v1/runs/{run_id}/events?limit=1000", timeout=5)
    except httpx2.TransportError:
        return []
    events: list[dict[str, Any]] = response.json()["events"] if response.status_code == 200 else []
    return events


def _ended(stack: LocalStack, run_id: str) -> list[dict[str, Any]]:
    events = _events(stack, run_id)
    return events if any(event["type"] in TERMINAL for event in events) else []


def _killed_at(stack: LocalStack, follow: Follow, service: str, moment: str, workspace: Path) -> str:
    """Start a run, kill a service when the run reaches a moment, and return the run's id."""
    request = {"agent": "worker", "input": f"use a tool ({service}, {moment})", "workspace": str(workspace)}
    run_id: str = httpx2.post(f"{stack.url}/v1/runs", json=request, timeout=10).json()["run_id"]
    with httpx2.stream("GET", f"{stack.url}/v1/runs/{run_id}/events", headers=SSE, timeout=20) as response:
        for event in follow(response):
            if event["type"] == moment:
                stack.kill(service)
                return run_id
    pytest.fail(f"the run ended before {moment}")


@pytest.mark.parametrize("service", SERVICES)
def test_a_run_ends_once_and_repeats_nothing_when_a_process_is_killed(
    stack: LocalStack, follow: Follow, wait_for: Callable[..., Any], workspace: Path, service: str
) -> None:
    before = stack.service(service)["restarts"]
    for moment in MOMENTS:
        stack.script.write_text(stack.script.read_text())  # resets the counters of rules with `times`
        run_id = _killed_at(stack, follow, service, moment, workspace)
        events = wait_for(lambda run_id=run_id: _ended(stack, run_id), 60)
        types = Counter(event["type"] for event in events)
        assert types["run_done"] == 1, events[-1]
        assert sum(types[type_] for type_ in TERMINAL) == 1
        done_calls = Counter(event["data"]["call"] for event in events if event["type"] == "llm_call_done")
        assert set(done_calls.values()) == {1}
        tool_results = Counter(event["data"]["call_id"] for event in events if event["type"] == "tool_result")
        assert set(tool_results.values()) == {1}
        for category in ("run.", "task."):
            versions = [event["version"] for event in events if event["subject"].startswith(category)]
            assert versions == list(range(1, len(versions) + 1))
        wait_for(lambda: all(row["state"] == "ready" for row in stack.status()["services"] if row["pid"]), 30)
    assert stack.service(service)["restarts"] >= before + len(MOMENTS)


def test_the_read_models_equal_a_rebuild_after_all_that(stack: LocalStack) -> None:
    verified = stack.syntor("replay", "--verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
