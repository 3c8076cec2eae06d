"""The address on this machine that a browser comes back to after a login: 127.0.0.1, one request, then closed."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs, urlsplit

from mcp.client.auth import AuthorizationCodeResult, OAuthFlowError

from syntor.contracts.visible_text import visible_line

PATH = "/callback"
MAX_HEAD = 16 * 1024
READ_TIMEOUT_S = 10.0
LOGIN_TIMEOUT_S = 300.0  # for a person in a browser
_PAGE = "<!doctype html><meta charset=utf-8><title>Syntor</title><p>{text} You can close this page.</p>"


class Loopback:
    """Waits for one authorization code."""

    def __init__(self) -> None:
        self._result: asyncio.Future[AuthorizationCodeResult] = asyncio.get_running_loop().create_future()
        self._server: asyncio.Server | None = None

    async def start(self, port: int) -> str:
        """Listen, and return the address to come back to; port 0: any that is free.

        Raises:
            OSError: the port is in use.
        """
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=MAX_HEAD)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}{PATH}"

    async def code(self) -> AuthorizationCodeResult:
        """Return what the browser brought.

        Raises:
            OAuthFlowError: the login was refused, or nothing came in time.
        """
        try:
            return await asyncio.wait_for(asyncio.shield(self._result), LOGIN_TIMEOUT_S)
        except TimeoutError as exc:
            raise OAuthFlowError(f"no login within {LOGIN_TIMEOUT_S:g} s") from exc

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
        if self._result.done() and not self._result.cancelled():
            self._result.exception()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), READ_TIMEOUT_S)
            status, text = self._take(head.split(b"\r\n", 1)[0].decode("latin-1"))
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            writer.close()
            return
        body = _PAGE.format(text=text).encode()
        writer.write(
            f"HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
            "Connection: close\r\nCache-Control: no-store\r\n\r\n".encode()
            + body
        )
        writer.close()

    def _take(self, line: str) -> tuple[str, str]:
        """Return status and text of the response to a request line."""
        method, _, rest = line.partition(" ")
        address = urlsplit(rest.partition(" ")[0])
        if method != "GET" or address.path != PATH or self._result.done():
            return "404 Not Found", "There is nothing here."
        given = {name: values[0] for name, values in parse_qs(address.query).items()}
        if "code" not in given:
            why = visible_line(given.get("error_description") or given.get("error") or "no code", 200)
            self._result.set_exception(OAuthFlowError(f"the login was refused: {why}"))
            return "200 OK", "The login was refused."
        self._result.set_result(
            AuthorizationCodeResult(code=given["code"], state=given.get("state"), iss=given.get("iss"))
        )
        return "200 OK", "Syntor is logged in."
