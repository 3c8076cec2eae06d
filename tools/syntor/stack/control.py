"""The supervisor's control endpoint: a few HTTP requests on loopback, each with the bearer token.

Strict on purpose: heads up to 8 KiB within 5 s, no bodies, one request per connection.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from urllib.parse import unquote

import msgspec

from syntor.stack.port import LOOPBACK

_HEAD_LIMIT_BYTES = 8192
_HEAD_TIMEOUT_S = 5.0
_REASONS = {
    200: "OK",
    202: "Accepted",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
}

Response = tuple[int, object] | AsyncGenerator[bytes, None]
"""Status and a value to send as JSON, or a stream of JSON lines."""


class Actions(msgspec.Struct, frozen=True):
    """Functions of the supervisor that the endpoint calls."""

    status: Callable[[], Awaitable[object]]
    down: Callable[[], None]
    restart: Callable[[str], Awaitable[bool]]
    """False: no such service."""
    start: Callable[[str], bool]
    """Starts an on-demand service; False: no such service."""
    model_server: Callable[[str], AsyncGenerator[bytes, None]]


class _Refused(Exception):  # noqa: N818 - carries a response, not a failure
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Control:
    """Serves the endpoint."""

    def __init__(self, token: str, actions: Actions) -> None:
        self._token = token
        self._actions = actions
        self._server: asyncio.Server | None = None

    async def serve(self) -> str:
        """Listen on a free loopback port; return the base URL."""
        self._server = await asyncio.start_server(self._connected, LOOPBACK, 0, limit=_HEAD_LIMIT_BYTES)
        return f"http://{LOOPBACK}:{self._server.sockets[0].getsockname()[1]}"

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _HEAD_TIMEOUT_S)
            try:
                response = await self._respond(head)
            except _Refused as exc:
                response = (exc.status, {"error": str(exc)})
            if isinstance(response, tuple):
                await _send(writer, *response)
            else:
                await _stream(writer, response)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, ConnectionError):
            pass  # the caller disconnected, or does not speak HTTP
        finally:
            writer.close()

    async def _respond(self, head: bytes) -> Response:
        method, path = self._checked(head)
        match method, path.strip("/").split("/", 1):
            case "GET", ["status"]:
                return 200, await self._actions.status()
            case "POST", ["down"]:
                self._actions.down()
                return 202, {"state": "stopping"}
            case "POST", ["restart", name]:
                if not await self._actions.restart(unquote(name)):
                    raise _Refused(404, f"no service {unquote(name)!r}")
                return 202, {"restarting": unquote(name)}
            case "POST", ["start", name]:
                if not self._actions.start(unquote(name)):
                    raise _Refused(404, f"no service {unquote(name)!r}")
                return 202, {"started": unquote(name)}
            case "POST", ["model-server", name] if name:
                return self._actions.model_server(unquote(name))
            case _, ["status" | "down" | "restart" | "start" | "model-server", *_]:
                raise _Refused(405, f"{path} does not support {method}")
            case _:
                known = "/status, /down, /restart/<service>, /start/<service>, /model-server/<model>"
                raise _Refused(404, f"no {path}; there are {known}")

    def _checked(self, head: bytes) -> tuple[str, str]:
        """Return method and path of a well-formed request that carries the token.

        Raises:
            _Refused: it is malformed or carries no valid token.
        """
        try:
            first, *lines = head.decode("ascii").removesuffix("\r\n\r\n").split("\r\n")
            method, target, version = first.split(" ")
            headers = {name.strip().lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
        except ValueError:
            raise _Refused(400, "not an HTTP/1.1 request") from None
        if not version.startswith("HTTP/1."):
            raise _Refused(400, "not an HTTP/1.1 request")
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(token.encode(), self._token.encode()):
            raise _Refused(401, "the bearer token of run/stack.json is required")
        if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
            raise _Refused(400, "a body is not expected here")
        return method, target.partition("?")[0]


async def _send(writer: asyncio.StreamWriter, status: int, value: object) -> None:
    body = msgspec.json.encode(value)
    writer.write(
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
        + body
    )
    await writer.drain()


async def _stream(writer: asyncio.StreamWriter, lines: AsyncGenerator[bytes, None]) -> None:
    """Stream lines; the end of the connection ends the response."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n")
    async with aclosing(lines):
        async for line in lines:
            writer.write(line)
            await writer.drain()
