"""Tools of MCP servers, through the official client; imported only where a server is configured.

One asyncio task owns a connection: it opens and closes it. While a server is down, only its tools are unavailable; a
later task of the agent connects again.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import httpx2
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from syntor.agentkit.domain.mcp_names import PREFIX
from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.tools.mcp_config import McpServer
from syntor.agentkit.tools.tool import Tool, ToolRun, bounded
from syntor.runtime.telemetry import get_logger

CONNECT_TIMEOUT_S, CALL_TIMEOUT_S = 20.0, 120.0
RETRY_AFTER_S = 10.0  # pause before connecting again to a server that could not be reached
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")
_FAULTS = (MCPError, OSError, RuntimeError, ValueError, httpx2.HTTPError, ExceptionGroup)


class McpConnection:
    """A connection to one server, opened when its tools are first requested."""

    def __init__(self, name: str, server: McpServer) -> None:
        self.name = name
        self.server = server
        self.problem = ""
        """Why it is not connected; empty: it is connected, or was not tried yet."""
        self._tools: dict[str, Tool] = {}
        self._client: Client | None = None
        self._connection_task: asyncio.Task[None] | None = None
        self._opened: asyncio.Future[None] | None = None
        self._close = asyncio.Event()  # of the connection that is open
        self._failed_at = -RETRY_AFTER_S

    async def tools(self) -> dict[str, Tool]:
        """Return its tools by their names for agents; none while it cannot be reached."""
        if self._client is None:
            await self._connect()
        return self._tools if self._client is not None else {}

    async def close(self) -> None:
        """Disconnect, and end its process where it has one."""
        self._close.set()
        if self._connection_task is not None:
            await asyncio.gather(self._connection_task, return_exceptions=True)

    async def _connect(self) -> None:
        if self._opened is not None and self._opened.done() and self._connection_task is not None:
            await asyncio.wait([self._connection_task])  # it closes after a lost connection
        if self._opened is None:
            if time.monotonic() - self._failed_at < RETRY_AFTER_S:
                return
            self._opened = asyncio.get_running_loop().create_future()
            self._close = asyncio.Event()
            self._connection_task = asyncio.create_task(self._keep(self._opened))
        await asyncio.shield(self._opened)

    async def _keep(self, opened: asyncio.Future[None]) -> None:
        """Open the connection and keep it until it is to be closed; record what went wrong."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S) as deadline:
                async with self._session() as client:
                    self._tools = {tool.name: tool for tool in await self._listed(client)}
                    self._client, self.problem = client, ""
                    deadline.reschedule(None)
                    opened.set_result(None)
                    await self._close.wait()
        except TimeoutError:
            self._fail(f"no response within {CONNECT_TIMEOUT_S:g} s")
        except _FAULTS as exc:
            self._fail(_reason(exc))
        finally:
            self._client, self._opened = None, None
            if not opened.done():
                opened.set_result(None)

    @contextlib.asynccontextmanager
    async def _session(self) -> AsyncGenerator[Client, None]:
        server = self.server
        async with contextlib.AsyncExitStack() as stack:
            if server.command:
                target: Any = StdioServerParameters(command=server.command, args=server.args, env=server.env or None)
            else:
                timeout = httpx2.Timeout(CALL_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
                client = httpx2.AsyncClient(headers=server.headers, timeout=timeout)
                http = await stack.enter_async_context(client)
                target = streamable_http_client(server.url, http_client=http)
            yield await stack.enter_async_context(Client(target, read_timeout_seconds=CALL_TIMEOUT_S))

    async def _listed(self, client: Client) -> list[Tool]:
        found: list[Tool] = []
        cursor: str | None = None
        while True:
            page = await client.list_tools(cursor=cursor)
            found += [self._tool(each) for each in page.tools]
            cursor = page.next_cursor
            if not cursor:
                return found

    def _tool(self, described: Any) -> Tool:
        name = f"{PREFIX}{self.name}_{_UNSAFE.sub('-', described.name)}"[:64]
        hints = described.annotations
        harmless = hints is not None and bool(hints.read_only_hint or hints.idempotent_hint)

        async def run(_: ToolRun, arguments: dict[str, Any]) -> str:
            return await self._call(described.name, arguments)

        return Tool(
            name=name,
            description=described.description or described.title or described.name,
            arguments=None,
            schema=described.input_schema,
            run=run,
            paths=lambda arguments: [],
            effect="network",  # a server's own annotations are hints only; rules allow its tools
            repeatable=harmless,
        )

    async def _call(self, name: str, arguments: dict[str, Any]) -> str:
        client = self._client
        if client is None:
            raise ToolError(f"the MCP server {self.name} is not connected{self._why()}")
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                result = await client.call_tool(name, arguments)
        except TimeoutError as exc:
            raise ToolError(f"the MCP server {self.name} did not respond within {CALL_TIMEOUT_S:g} s") from exc
        except _FAULTS as exc:
            if not isinstance(exc, MCPError) or "closed" in str(exc).lower():
                self._client = None  # the next task connects again
                self._close.set()
            raise ToolError(f"the MCP server {self.name}: {_reason(exc)}") from exc
        text = bounded("\n".join(_text(part) for part in result.content) or "(no content)")
        if result.is_error:
            raise ToolError(text)
        return text

    def _fail(self, problem: str) -> None:
        self.problem = problem
        self._failed_at = time.monotonic()
        get_logger().warning("mcp_server_unavailable", server=self.name, problem=problem)

    def _why(self) -> str:
        return f": {self.problem}" if self.problem else ""


class McpConnections:
    """Connections to all configured servers; a connection whose configuration changed is reopened."""

    def __init__(self) -> None:
        self._known: dict[str, McpConnection] = {}

    async def use(self, servers: Mapping[str, McpServer]) -> list[McpConnection]:
        """Return a connection for each server; connections to other servers are closed."""
        for name in [name for name, known in self._known.items() if servers.get(name) != known.server]:
            await self._known.pop(name).close()
        for name, server in servers.items():
            self._known.setdefault(name, McpConnection(name, server))
        return list(self._known.values())

    async def close(self) -> None:
        """Close all."""
        await asyncio.gather(*(connection.close() for connection in self._known.values()))
        self._known.clear()


def _text(part: Any) -> str:
    """Return a part of a result as text."""
    if part.type == "text":
        return str(part.text)
    if part.type == "resource" and getattr(part.resource, "text", None) is not None:
        return str(part.resource.text)
    return f"({part.type}, omitted)"


def _reason(exc: BaseException) -> str:
    inner = getattr(exc, "exceptions", ())
    return _reason(inner[0]) if inner else str(exc) or type(exc).__name__
