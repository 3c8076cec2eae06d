"""On loopback: who changes anything has the key, and other accounts of the machine read nothing either."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from syntor.runtime.local_key import ensure_key
from syntor.runtime.socket_owner import is_supported

HELLO = {"agent": "worker", "input": "hello"}
WITHOUT = {"Authorization": ""}
OTHER_ACCOUNT = 65534
as_root = pytest.mark.skipif(
    os.geteuid() != 0 or not is_supported(), reason="only root becomes another account, only Linux tells them apart"
)


async def test_without_the_key_there_is_only_reading(ingress: Any) -> None:
    run_id = (await ingress.http.post("/v1/runs", json=HELLO)).json()["run_id"]
    assert (await ingress.http.get(f"/v1/runs/{run_id}/events", headers=WITHOUT)).status_code == 200
    for method, path, body in (
        ("POST", "/v1/runs", HELLO),
        ("POST", "/internal/invoke", {}),
        ("POST", f"/v1/runs/{run_id}/cancel", {}),
        ("POST", f"/v1/runs/{run_id}/retry", {}),
        ("POST", f"/v1/runs/{run_id}/approvals/t1-c1", {"approved": True, "content_hash": "x"}),
        ("POST", f"/v1/runs/{run_id}/tool_results/t1-c1", {"content": "x"}),
        ("PUT", "/v1/sessions/s1/tools", {"tools": []}),
        ("POST", "/v1/sessions/s1/fork", {}),
        ("POST", "/v1/agents/register", {}),
        ("DELETE", "/v1/agents/worker", None),
        ("DELETE", "/v1/dead_letters/1", None),
    ):
        refused = await ingress.http.request(method, path, json=body, headers=WITHOUT)
        assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized"), path
        assert "curl -H" in refused.json()["detail"]


async def test_reading_can_be_closed_too(start_ingress: Callable[..., Awaitable[Any]]) -> None:
    ingress = await start_ingress(local_reads="key")
    assert (await ingress.http.get("/v1/events", headers=WITHOUT)).status_code == 401
    assert (await ingress.http.get("/openapi.json", headers=WITHOUT)).status_code == 200
    run_id = (await ingress.http.post("/v1/runs", json=HELLO)).json()["run_id"]
    assert (await ingress.http.get(f"/v1/runs/{run_id}/events")).status_code == 200


async def test_a_stream_ends_when_the_key_is_replaced(
    start_ingress: Callable[..., Awaitable[Any]], tmp_path: Path
) -> None:
    ingress = await start_ingress(home=str(tmp_path))
    async with ingress.http.stream("GET", "/v1/events", headers={"Accept": "text/event-stream"}) as response:
        parts = response.aiter_text()
        assert "retry" in await anext(parts)
        (tmp_path / "key").unlink()
        ensure_key(tmp_path)
        rest = "".join([part async for part in parts])
    assert "closed by the server: the token was revoked" in rest
    assert (await ingress.http.post("/v1/runs", json=HELLO)).status_code == 401


@as_root
async def test_another_account_reads_nothing(ingress: Any, tmp_path: Path) -> None:
    assert (await ingress.http.get("/openapi.json", headers=WITHOUT)).status_code == 200
    for path, status in (("/v1/events?after=0", "401"), ("/openapi.json", "200")):
        assert await asyncio.to_thread(_fetch, ingress.port, path, OTHER_ACCOUNT) == status
        assert await asyncio.to_thread(_fetch, ingress.port, path, 0) == "200"
    ensure_key(tmp_path)
    reading = await asyncio.create_subprocess_exec("/bin/cat", tmp_path / "key", user=OTHER_ACCOUNT, cwd="/")
    assert await reading.wait() != 0


@pytest.mark.parametrize("wrong", ["mode", "link"])
async def test_it_does_not_start_on_a_key_that_cannot_be_trusted(log: Any, tmp_path: Path, wrong: str) -> None:
    ensure_key(tmp_path)
    if wrong == "mode":
        (tmp_path / "key").chmod(0o644)
    else:
        (tmp_path / "key").rename(tmp_path / "other")
        (tmp_path / "key").symlink_to(tmp_path / "other")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SYNTOR_")}
    environ = kept | {"SYNTOR_NATS_URL": log.server.url, "SYNTOR_HOME": str(tmp_path), "SYNTOR_HTTP_PORT": "0"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "syntor.ingress", env=environ, stderr=asyncio.subprocess.PIPE
    )
    _, output = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 3
    assert f"rm {tmp_path}/key".encode() in output


def _fetch(port: int, path: str, account: int) -> str:
    """Return the status of a GET that a program of an account sends."""
    script = (
        f"exec 3<>/dev/tcp/127.0.0.1/{port}; "
        f"printf 'GET {path} HTTP/1.1\\r\\nHost: 127.0.0.1:{port}\\r\\n\\r\\n' >&3; "
        "read -r _ status _ <&3; echo $status"
    )
    done = subprocess.run(
        ["/bin/bash", "-c", script], user=account, cwd="/", capture_output=True, text=True, check=True, timeout=20
    )
    return done.stdout.strip()
