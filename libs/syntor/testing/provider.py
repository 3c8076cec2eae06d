"""A model provider on a free port whose every answer a test writes, faults of the wire included."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]
"""Writes one answer; the connection is closed afterwards."""


class ReceivedRequest(msgspec.Struct):
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class Provider:
    """Answers requests in the order its answers were given; the last one is repeated."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.requests: list[ReceivedRequest] = []
        self.hung_up = asyncio.Event()
        """Set when a client went away in the middle of an answer."""
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            pairs = [line.split(": ", 1) for line in head[1:] if line]
            headers = {name.lower(): value for name, value in pairs}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            path = head[0].split(" ")[1]
            self.requests.append(ReceivedRequest(path, headers, msgspec.json.decode(body) if body else {}))
            await self.answers[min(len(self.requests), len(self.answers)) - 1](writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.hung_up.set()
        finally:
            writer.close()


@asynccontextmanager
async def provider() -> AsyncGenerator[Provider, None]:
    """Serve on a free port until the end of the block."""
    serving = Provider()
    server = await asyncio.start_server(serving.serve, "127.0.0.1", 0)
    serving.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield serving
    finally:
        server.close()


def refusal(status: int, body: bytes | dict[str, Any], **headers: str) -> Answer:
    """Return an answer that is an error."""
    content = body if isinstance(body, bytes) else msgspec.json.encode(body)

    async def answer(writer: asyncio.StreamWriter) -> None:
        extra = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 {status} Odd\r\nContent-Length: {len(content)}\r\n{extra}\r\n".encode() + content)
        await writer.drain()

    return answer


def stream(*chunks: dict[str, Any] | str, done: bool = True) -> Answer:
    """Return an answer of server-sent events; a text is sent as it is.

    Args:
        done: False: the connection ends without the last event.
    """

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        for chunk in chunks:
            data = chunk if isinstance(chunk, str) else f"data: {msgspec.json.encode(chunk).decode()}\n\n"
            writer.write(data.encode())
            await writer.drain()
        if done:
            writer.write(b"data: [DONE]\n\n")
        await writer.drain()

    return answer


def text_chunk(text: str, finish: str | None = None) -> dict[str, Any]:
    """Return a piece of an answer."""
    return {"model": "m-1", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}
