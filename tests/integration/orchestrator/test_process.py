"""The orchestrator as a process: readiness, discovery, an orderly stop, and a kill while another one works on."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from syntor.contracts.topology import ORCHESTRATOR_DECISIONS
from syntor.jetstream.admin import api
from syntor.jetstream.requests import call
from syntor.testing.nats_server import free_port

WAIT_S = 20.0


class Process(msgspec.Struct):
    """A running service and a client of its health port."""

    child: asyncio.subprocess.Process
    health: httpx2.AsyncClient
    log: Path

    async def ready(self) -> str:
        """Wait until it is ready and return what it says of its checks."""
        async with asyncio.timeout(WAIT_S):
            while True:
                try:
                    answer = await self.health.get("/readyz?verbose")
                except httpx2.TransportError:
                    assert self.child.returncode is None, self.log.read_text()
                    continue
                if answer.status_code == 200:
                    return answer.text


Spawn = Callable[..., Awaitable[Process]]


@pytest.fixture
async def spawn(log: Any, tmp_path: Path) -> AsyncIterator[Spawn]:
    """Starts an orchestrator process."""
    async with AsyncExitStack() as stack:

        async def started(**variables: str) -> Process:
            port = free_port()
            kept = {name: value for name, value in os.environ.items() if not name.startswith("SYNTOR_")}
            environ = kept | {
                "SYNTOR_NATS_URL": log.server.url,
                "SYNTOR_HOME": str(tmp_path),
                "SYNTOR_HEALTH_PORT": str(port),
            }
            said = tmp_path / f"orchestrator-{port}.log"
            with said.open("wb") as stderr:
                child = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "syntor.orchestrator", env=environ | variables, stderr=stderr
                )
            stack.push_async_callback(child.wait)
            stack.callback(_kill, child)
            client = httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=WAIT_S)
            return Process(child, await stack.enter_async_context(client), said)

        yield started


def _kill(child: asyncio.subprocess.Process) -> None:
    if child.returncode is None:
        child.kill()


class Nothing(msgspec.Struct):
    """An empty request."""


class Status(msgspec.Struct):
    """What an instance says of itself."""

    instance: str
    busy: int
    cached_runs: int


async def test_it_says_how_it_is_and_stops_in_order(log: Any, scene: Any, spawn: Spawn) -> None:
    process = await spawn(SYNTOR_INSTANCE="one")
    verbose = await process.ready()
    assert "[+] orchestrator-decisions: ok" in verbose
    assert "[+] orchestrator-timers: ok" in verbose
    await scene.ask("r1")
    await scene.until_over("r1")
    status = await call(log.connection, "orchestrator", "status", Nothing(), Status)
    assert (status.instance, status.cached_runs) == ("one", 1)
    metrics = (await process.health.get("/metrics")).text
    assert 'syntor_runs_ended_total{status="done"} 1.0' in metrics
    assert 'syntor_decisions_total{event="TaskAssigned"} 1.0' in metrics
    process.child.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.child.wait(), WAIT_S) == 0
    said = process.log.read_text()
    assert '"event":"run_started"' in said
    assert '"trace_id":"c-r1"' in said
    assert "Traceback" not in said


async def test_it_is_found_like_any_service_of_nats(log: Any, spawn: Spawn) -> None:
    process = await spawn(SYNTOR_INSTANCE="one")
    await process.ready()
    reply = await log.connection.request("$SRV.INFO.orchestrator", b"")
    info = msgspec.json.decode(reply.payload)
    assert info["metadata"] == {"instance": "one"}
    assert [endpoint["subject"] for endpoint in info["endpoints"]] == ["syntor.rpc.orchestrator.status"]


async def test_a_missing_consumer_is_named_with_what_to_do(log: Any, spawn: Spawn) -> None:
    process = await spawn()
    await process.ready()
    spec = ORCHESTRATOR_DECISIONS
    await api(log.connection, f"CONSUMER.DELETE.{spec.stream}.{spec.name}")
    answer = await process.health.get("/readyz")
    assert answer.status_code == 503
    assert "orchestrator-decisions does not exist on SYNTOR_EVENTS; run: syntor admin apply" in answer.text


async def test_a_setting_that_is_wrong_is_named(spawn: Spawn) -> None:
    process = await spawn(SYNTOR_CACHED_RUNS="many")
    assert await asyncio.wait_for(process.child.wait(), WAIT_S) == 3
    assert "SYNTOR_CACHED_RUNS='many'" in process.log.read_text()


async def test_one_of_two_is_killed_and_every_run_ends_once_in_its_turn(
    scene: Any, spawn: Spawn, wrong: Callable[[], list[str]]
) -> None:
    killed, other = await spawn(), await spawn()
    await asyncio.gather(killed.ready(), other.ready())
    run_ids = [f"r{number}" for number in range(150)]
    asking = [asyncio.create_task(scene.ask(run_id, f"s{n % 40}")) for n, run_id in enumerate(run_ids)]
    await scene.until(lambda: len(scene.ended()) >= 20)
    killed.child.kill()
    await asyncio.gather(*asking)
    await scene.until_over(*run_ids)  # what the killed one held comes again after its ack_wait
    ends = [e.envelope.runid for e in scene.events if e.envelope.type in ("run_done", "run_failed", "run_cancelled")]
    assert sorted(ends) == sorted(run_ids)
    assert wrong() == []
