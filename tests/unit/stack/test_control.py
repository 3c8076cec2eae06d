"""The control endpoint serves only requests with its token."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

import pytest

from syntor.stack.control import Actions, Control

Calls = list[str]


@pytest.fixture
def calls() -> Calls:
    """Calls of the supervisor."""
    return []


@pytest.fixture
async def url(calls: Calls) -> AsyncIterator[str]:
    """A running endpoint with the token `secret`."""

    async def status() -> object:
        return {"phase": "ready"}

    async def restart(name: str) -> bool:
        calls.append(f"restart {name}")
        return name == "nats"

    def start(name: str) -> bool:
        calls.append(f"start {name}")
        return name == "agent-external"

    async def lines(model: str) -> AsyncGenerator[bytes, None]:
        calls.append(f"model {model}")
        yield b'{"state":"loading"}\n'
        yield b'{"state":"ready"}\n'

    control = Control("secret", Actions(status, lambda: calls.append("down"), restart, start, lines))
    yield await control.serve()
    control.close()


async def ask(url: str, request: str) -> tuple[int, str]:
    """Send a request as it is; return status and body."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request.encode())
    response = (await reader.read()).decode()
    writer.close()
    head, _, body = response.partition("\r\n\r\n")
    return int(head.split()[1]), body


def request(method: str, path: str, headers: str = "Authorization: Bearer secret\r\n") -> str:
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n"


async def test_a_request_with_the_token_is_served(url: str, calls: Calls) -> None:
    assert await ask(url, request("GET", "/status")) == (200, '{"phase":"ready"}')
    assert (await ask(url, request("POST", "/restart/nats")))[0] == 202
    assert (await ask(url, request("POST", "/start/agent-external")))[0] == 202
    assert (await ask(url, request("POST", "/down")))[0] == 202
    assert calls == ["restart nats", "start agent-external", "down"]


async def test_status_lines_are_relayed_unchanged(url: str, calls: Calls) -> None:
    status, body = await ask(url, request("POST", "/model-server/qwen2.5-coder%3A1.5b"))
    assert (status, body) == (200, '{"state":"loading"}\n{"state":"ready"}\n')
    assert calls == ["model qwen2.5-coder:1.5b"]


@pytest.mark.parametrize(
    "headers", ["", "Authorization: Bearer wrong\r\n", "Authorization: Basic secret\r\n", "Authorization: Bearer\r\n"]
)
async def test_without_the_token_nothing_is_done(url: str, calls: Calls, headers: str) -> None:
    status, body = await ask(url, request("POST", "/down", headers))
    assert status == 401
    assert "secret" not in body
    assert calls == []


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (request("GET", "/nothing"), 404),
        (request("POST", "/restart/nosuch"), 404),
        (request("POST", "/start/nosuch"), 404),
        (request("GET", "/down"), 405),
        (request("POST", "/model-server/"), 405),
        (request("POST", "/down", "Authorization: Bearer secret\r\nContent-Length: 5\r\n") + "hello", 400),
        ("nonsense\r\n\r\n", 400),
        ("GET /status HTTP/1.1\r\nno colon\r\n\r\n", 400),
        ("GET /status SPDY/3\r\nAuthorization: Bearer secret\r\n\r\n", 400),
    ],
)
async def test_anything_else_is_refused(url: str, calls: Calls, text: str, status: int) -> None:
    assert (await ask(url, text))[0] == status
    assert "down" not in calls


async def test_an_endless_head_is_refused(url: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /status HTTP/1.1\r\n" + b"a: b\r\n" * 5000)
    with contextlib.suppress(ConnectionError):
        assert await reader.read() == b""
    writer.close()
