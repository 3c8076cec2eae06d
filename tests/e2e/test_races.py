"""Two of every service on one log: turns never interleave, every run ends once, every decision can be decided again."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from syntor.testing.local_stack import LocalStack

RUNS, SESSIONS = 200, 10
SECOND = ("orchestrator", "registry", "projector", "agents.worker")


@pytest.fixture
def doubled(stack: LocalStack) -> Iterator[LocalStack]:
    """The stack, with a second instance of each service beside it."""
    environ = stack.environ | {
        "SYNTOR_NATS_URL": stack.nats_url,
        "SYNTOR_NATS_KEYS": str(stack.home / "nats-keys"),
        "SYNTOR_DURABILITY": "fast",
        "SYNTOR_DATABASE_URL": f"sqlite:///{stack.home}/data/readmodel.db",
    }
    processes = [
        subprocess.Popen([sys.executable, "-m", f"syntor.{name}"], env=environ, stderr=subprocess.DEVNULL)
        for name in SECOND
    ]
    yield stack
    for process in processes:
        process.terminate()
    assert [process.wait(30) for process in processes] == [0] * len(SECOND)


def test_runs_of_ten_sessions_take_turns_on_two_of_everything(
    doubled: LocalStack, wait_for: Callable[..., Any]
) -> None:
    wait_for(lambda: httpx2.get(f"{doubled.url}/v1/agents/worker").json()["instances"] >= 2, 30)

    def start(number: int) -> str:
        request = {"agent": "worker", "input": f"race {number}", "session_id": f"race-{number % SESSIONS}"}
        response = httpx2.post(f"{doubled.url}/v1/runs", json=request, timeout=30)
        assert response.status_code == 202, response.text
        return str(response.json()["run_id"])

    with ThreadPoolExecutor(16) as pool:
        run_ids = set(pool.map(start, range(RUNS)))

    def all_done() -> bool:
        response = httpx2.get(f"{doubled.url}/v1/runs?limit=500&status=done", timeout=30)
        if response.status_code == 503:  # under this load a query may time out; the response says when to retry
            assert "retry-after" in response.headers
            return False
        assert response.status_code == 200, response.text
        return run_ids <= {run["run_id"] for run in response.json()["runs"]}

    wait_for(all_done, 60)
    for session in range(SESSIONS):
        page = httpx2.get(f"{doubled.url}/v1/runs?session_id=race-{session}&limit=500", timeout=30).json()["runs"]
        spans = []
        for run in page:
            events = httpx2.get(f"{doubled.url}/v1/runs/{run['run_id']}/events", timeout=30).json()["events"]
            types = Counter(event["type"] for event in events)
            assert types["run_started"] == types["llm_call_done"] == types["run_done"] == 1
            positions = {event["type"]: event["position"] for event in events}
            spans.append((positions["run_started"], positions["run_done"]))
        spans.sort()
        assert all(one[1] < next_one[0] for one, next_one in itertools.pairwise(spans))
    verified = doubled.syntor("replay", "--verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
