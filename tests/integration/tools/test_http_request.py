"""http_request against real servers: it connects to the address that was judged, and never to the stack itself."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.tools.http import HttpRequest, http_request
from syntor.agentkit.tools.sandbox import limits_only
from syntor.agentkit.tools.tool import ToolRun
from syntor.runtime.checked_http import CheckedTransport, checked_client
from syntor.runtime.outgoing import AddressRules, RefusedAddressError


class Server:
    """Keeps the heads of requests, and answers each with one response."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.response = (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nhello"
        )
        self.port = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(self.response.encode())
        await writer.drain()
        writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    found = Server()
    async with await asyncio.start_server(found.answer, "127.0.0.1", 0) as listening:
        found.port = listening.sockets[0].getsockname()[1]
        yield found


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ToolRun:
    monkeypatch.setenv("SYNTOR_HOME", str(tmp_path / "home"))
    return ToolRun(workspace=tmp_path, sandbox=limits_only(tmp_path, "a test"), key="r1.t1.c1")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0.0.0.0", "[::ffff:127.0.0.1]"])
async def test_a_development_server_is_reached_and_the_stack_is_not(
    server: Server, run: ToolRun, tmp_path: Path, host: str
) -> None:
    url = f"http://{host}:{server.port}/v1/runs"
    assert "hello" in await http_request(run, HttpRequest(url))
    assert f"Host: {host}:{server.port}".lower() in server.heads[0].lower()
    (tmp_path / "home" / "run").mkdir(parents=True)
    (tmp_path / "home" / "run" / "stack.json").write_text(json.dumps({"url": f"http://127.0.0.1:{server.port}"}))
    for method in ("GET", "POST"):
        with pytest.raises(ToolError, match="belongs to Syntor itself"):
            await http_request(run, HttpRequest(url, method, body="{}"))
    assert len(server.heads) == 1


async def test_a_redirect_is_shown_and_where_it_is_followed_checked_again(server: Server, run: ToolRun) -> None:
    server.response = "HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest\r\nContent-Length: 0\r\n\r\n"
    url = f"http://127.0.0.1:{server.port}/"
    assert "location: http://169.254.169.254/latest" in await http_request(run, HttpRequest(url))
    async with checked_client(url, AddressRules(), follow_redirects=True) as client:
        with pytest.raises(RefusedAddressError, match=r"169\.254\.169\.254"):
            await client.get(url)


async def test_a_name_is_resolved_once_and_connected_to_as_it_was_judged(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = ["127.0.0.1", "169.254.169.254"]
    real = socket.getaddrinfo

    def rebinding(host: str | bytes | None, *more: Any, **options: Any) -> Any:
        return real(answers.pop(0) if host == "rebinding.example.org" else host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    async with httpx2.AsyncClient(transport=CheckedTransport(AddressRules())) as client:
        response = await client.get(f"http://rebinding.example.org:{server.port}/")
        assert response.text == "hello"
        assert f"Host: rebinding.example.org:{server.port}" in server.heads[0]
        with pytest.raises(RefusedAddressError):
            await client.get(f"http://rebinding.example.org:{server.port}/")
    answers.append("127.0.0.1")
    async with httpx2.AsyncClient(transport=CheckedTransport(AddressRules(named_loopback_only=True))) as client:
        with pytest.raises(RefusedAddressError, match="this machine"):
            await client.get(f"http://rebinding.example.org:{server.port}/")
    assert len(server.heads) == 1


async def test_loopback_is_not_proxied(server: Server, run: ToolRun, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    url = f"http://127.0.0.1:{server.port}/"
    assert "hello" in await http_request(run, HttpRequest(url))
    async with checked_client(url, AddressRules()) as client:
        assert (await client.get(url)).text == "hello"
