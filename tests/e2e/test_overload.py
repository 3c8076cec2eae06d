"""More than can be done: refused with Retry-After, bounded in memory, and recovered without help."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from syntor.testing.local_stack import LocalStack

Wait = Callable[..., Any]
FLOOD, MAX_OPEN = 1500, 100
MOST_MIB = 120  # resident, of any service; they begin at about 35
SCRIPT = """
rules:
  - text: a slow model's answer
    delay_s: 0.2
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    environ = {"SYNTOR_MAX_OPEN_RUNS": str(MAX_OPEN)}
    local = LocalStack(tmp_path_factory.mktemp("home"), script=SCRIPT, environ=environ)
    local.up("--durability", "fast")
    yield local
    local.down()


def _statuses(stack: LocalStack) -> Counter[str]:
    statuses: Counter[str] = Counter()
    cursor: int | None = 0
    while cursor is not None:
        response = httpx2.get(f"{stack.url}/v1/runs?limit=500" + (f"&cursor={cursor}" if cursor else ""), timeout=30)
        if response.status_code != 200:
            return Counter()
        page = response.json()
        statuses.update(run["status"] for run in page["runs"])
        cursor = page.get("cursor")
    return statuses


def _well(stack: LocalStack) -> None:
    rows = stack.status()["services"]
    assert {row["restarts"] for row in rows} == {0}, rows
    for row in rows:
        if row["pid"]:
            status = Path(f"/proc/{row['pid']}/status").read_text()
            resident = int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024
            assert resident < MOST_MIB, (row["name"], resident)


def test_a_flood_of_runs_is_taken_as_far_as_allowed_and_the_rest_told_when_to_come_back(
    stack: LocalStack, wait_for: Wait
) -> None:
    async def flood() -> Counter[int]:
        responses: Counter[int] = Counter()
        limits = httpx2.Limits(max_connections=200)
        async with httpx2.AsyncClient(base_url=stack.url, timeout=60, limits=limits) as http:

            async def one(number: int) -> None:
                response = await http.post("/v1/runs", json={"agent": "worker", "input": f"flood {number}"})
                responses[response.status_code] += 1
                if response.status_code == 429:
                    assert response.headers["retry-after"] == "1"
                    assert "SYNTOR_MAX_OPEN_RUNS" in response.json()["detail"]

            await asyncio.gather(*(one(number) for number in range(FLOOD)))
        return responses

    responses = asyncio.run(flood())
    assert responses.keys() == {202, 429}
    assert responses[202] >= MAX_OPEN, responses
    wait_for(lambda: _statuses(stack) == {"done": responses[202]}, 60)
    _well(stack)
    response = httpx2.post(f"{stack.url}/v1/runs", json={"agent": "worker", "input": "after"}, timeout=30)
    assert response.status_code == 202


def test_a_projector_that_stands_still_makes_queries_wait_and_then_catches_up(
    stack: LocalStack, wait_for: Wait
) -> None:
    pid = stack.service("projector")["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        with httpx2.Client(base_url=stack.url, timeout=60) as http:
            run_ids = [
                http.post("/v1/runs", json={"agent": "worker", "input": "unseen"}).json()["run_id"] for _ in range(30)
            ]
            response = http.get(f"/v1/runs/{run_ids[0]}")
            assert response.status_code == 503
            assert int(response.headers["retry-after"]) >= 1
            streamed = http.get(f"/v1/runs/{run_ids[-1]}/events", headers={"Accept": "text/event-stream"})
            assert "event: run_done" in streamed.text  # what is streamed comes from the log
    finally:
        os.kill(pid, signal.SIGCONT)
    with httpx2.Client(base_url=stack.url, timeout=60) as http:
        for run_id in run_ids:
            wait_for(lambda run_id=run_id: http.get(f"/v1/runs/{run_id}").json().get("status") == "done", 60)
    _well(stack)


def test_too_many_requests_at_once_are_refused_and_the_rest_served(tmp_path: Path) -> None:
    stack = LocalStack(tmp_path, script=SCRIPT, environ={"SYNTOR_MAX_REQUESTS": "20"})
    with stack:

        async def crowd() -> Counter[int]:
            responses: Counter[int] = Counter()
            async with httpx2.AsyncClient(
                base_url=stack.url, timeout=60, limits=httpx2.Limits(max_connections=60)
            ) as http:

                async def one(number: int) -> None:
                    request = {"agent": "worker", "input": f"crowd {number}"}
                    async with http.stream(
                        "POST", "/v1/runs", json=request, headers={"Accept": "text/event-stream"}
                    ) as response:
                        body = await response.aread()
                    responses[response.status_code] += 1
                    if response.status_code == 503:
                        assert int(response.headers["retry-after"]) >= 1
                    else:
                        assert b"event: run_done" in body

                await asyncio.gather(*(one(number) for number in range(60)))
            return responses

        responses = asyncio.run(crowd())
        assert responses.keys() == {200, 503}
        assert responses[200] >= 16  # above, new runs are shed in part
        assert httpx2.get(f"{stack.url}/v1/agents", timeout=30).status_code == 200
