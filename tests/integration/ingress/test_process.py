"""The ingress as a process: what it refuses to start with, and that it stops in order."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import httpx2

from syntor.testing.local_stack import headers_of_home
from syntor.testing.nats_server import free_port

WAIT_S = 20.0


def environment(log: Any, folder: Path, **variables: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SYNTOR_")}
    return kept | {"SYNTOR_NATS_URL": log.server.url, "SYNTOR_HOME": str(folder)} | variables


async def start(environ: dict[str, str]) -> asyncio.subprocess.Process:
    arguments = ("-m", "syntor.ingress")
    return await asyncio.create_subprocess_exec(sys.executable, *arguments, env=environ, stderr=asyncio.subprocess.PIPE)


async def test_an_address_other_machines_reach_is_refused(log: Any, tmp_path: Path) -> None:
    process = await start(environment(log, tmp_path, SYNTOR_HTTP_HOST="0.0.0.0"))
    _, output = await asyncio.wait_for(process.communicate(), WAIT_S)
    assert process.returncode == 3
    assert b"there is no token yet" in output


async def test_readiness_looks_at_the_log(ingress: Any) -> None:
    assert await ingress.health.results() == {"started": None, "lag": None}


async def test_a_taken_port_is_named(log: Any, tmp_path: Path) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = str(busy.getsockname()[1])
        process = await start(environment(log, tmp_path, SYNTOR_HTTP_PORT=port))
        _, output = await asyncio.wait_for(process.communicate(), WAIT_S)
    assert process.returncode == 3
    assert port.encode() in output
    assert b"in use" in output


async def test_it_stops_in_order_with_a_stream_open(log: Any, peers: Any, tmp_path: Path) -> None:
    port = free_port()
    process = await start(environment(log, tmp_path, SYNTOR_HTTP_PORT=str(port)))
    assert process.stderr is not None
    lines = [await asyncio.wait_for(process.stderr.readline(), WAIT_S)]
    while b"http_listening" not in lines[-1]:
        lines.append(await asyncio.wait_for(process.stderr.readline(), WAIT_S))
    async with httpx2.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", headers=headers_of_home(tmp_path), timeout=WAIT_S
    ) as client:
        run = (await client.post("/v1/runs", json={"agent": "worker", "input": "secret words"})).json()
        headers = {"Accept": "text/event-stream"}
        async with client.stream("GET", f"/v1/runs/{run['run_id']}/events", headers=headers) as response:
            text = ""
            async for part in response.aiter_text():
                text += part
                if "user_input" in part:
                    process.send_signal(signal.SIGTERM)
    _, rest = await asyncio.wait_for(process.communicate(), WAIT_S)
    assert process.returncode == 0
    assert "closed by the server" in text
    output = b"".join(lines) + rest
    assert b'"event":"http_request"' in output
    assert b"secret" not in output
    assert b"Traceback" not in output
