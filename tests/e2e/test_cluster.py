"""The whole stack on a cluster of three NATS nodes: the leader is killed while runs are in progress, then rejoins."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from syntor.contracts.topology import EVENTS
from syntor.jetstream.connection import connect
from syntor.testing.local_stack import LocalStack
from syntor.testing.nats_cluster import NatsCluster, cluster_of

RUNS, SESSIONS = 60, 12
SCRIPT = """
rules:
  - text: one two three four five
    chunk_words: 1
    chunk_delay_s: 0.1
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[NatsCluster]:
    with NatsCluster(tmp_path / "cluster") as running:
        yield running


@pytest.fixture
def stack(cluster: NatsCluster, tmp_path: Path) -> Iterator[LocalStack]:
    environ = {"SYNTOR_NATS_URL": cluster.url, "SYNTOR_NATS_REPLICAS": "3"}
    local = LocalStack(tmp_path / "home", script=SCRIPT, environ=environ)
    local.up()
    yield local
    local.down()


def _leader(cluster: NatsCluster) -> str:
    async def ask() -> str:
        connection = await connect(cluster.url, "syntor/test")
        try:
            return str((await cluster_of(connection, EVENTS))["leader"])
        finally:
            await connection.close()

    return asyncio.run(ask())


def _not_ready(stack: LocalStack) -> list[str]:
    """Return the services whose readiness fails for want of the log's majority."""
    answers = {row["name"]: httpx2.get(row["health_url"], timeout=10) for row in stack.status()["services"]}
    return [name for name, answer in answers.items() if answer.status_code == 503 and "[-] log: " in answer.text]


def _only_a_majority_is_ready(stack: LocalStack, cluster: NatsCluster, wait_for: Callable[..., Any]) -> None:
    """Kill the leader and another node: no service is ready, and a run is refused; with both back, all are."""
    names = sorted(row["name"] for row in stack.status()["services"])
    leader = _leader(cluster)
    dead = [leader, next(name for name in cluster.nodes if name != leader)]
    for name in dead:
        cluster.kill(name)
    wait_for(lambda: sorted(_not_ready(stack)) == names, 20)
    refused = httpx2.post(f"{stack.url}/v1/runs", json={"agent": "worker", "input": "x"}, timeout=30)
    assert refused.status_code == 503, refused.text
    assert int(refused.headers["Retry-After"]) > 0
    for name in dead:
        cluster.start(name)
    wait_for(lambda: {row["state"] for row in stack.status()["services"]} == {"ready"}, 60)
    request = {"agent": "worker", "input": "x"}
    wait_for(lambda: httpx2.post(f"{stack.url}/v1/runs", json=request, timeout=30).status_code == 202, 30)


def test_runs_end_once_when_the_leader_is_killed_under_them(
    stack: LocalStack, cluster: NatsCluster, wait_for: Callable[..., Any]
) -> None:
    def start(number: int) -> str:
        request = {"agent": "worker", "input": f"run {number}", "session_id": f"s{number % SESSIONS}"}
        while True:
            response = httpx2.post(
                f"{stack.url}/v1/runs", json=request, headers={"Idempotency-Key": f"key-{number}"}, timeout=30
            )
            if response.status_code != 503:  # without a leader appends fail; a retried request starts no second run
                assert response.status_code == 202, response.text
                return str(response.json()["run_id"])

    victim = _leader(cluster)
    with ThreadPoolExecutor(12) as pool:
        started = [pool.submit(start, number) for number in range(RUNS)]
        wait_for(lambda: sum(each.done() for each in started) >= RUNS // 3)
        cluster.kill(victim)
        run_ids = {each.result(60) for each in started}
    assert len(run_ids) == RUNS
    cluster.start(victim)

    def all_done() -> bool:
        response = httpx2.get(f"{stack.url}/v1/runs?limit=500", timeout=30)
        if response.status_code == 503:
            return False
        runs = {run["run_id"]: run["status"] for run in response.json()["runs"]}
        assert "failed" not in runs.values()
        return {runs.get(run_id) for run_id in run_ids} == {"done"}

    wait_for(all_done, 90)
    _only_a_majority_is_ready(stack, cluster, wait_for)
    verified = stack.syntor("replay", "--verify")
    assert verified.returncode == 0, verified.stdout
    assert _leader(cluster) != ""
