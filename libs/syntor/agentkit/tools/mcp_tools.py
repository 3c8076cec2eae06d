"""Tools of configured MCP servers for an agent. The client library, 25 MB, is loaded only where there is a server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from syntor.agentkit.domain.mcp_names import CONFIG_FILE, is_mcp_name, lists_server
from syntor.agentkit.tools.tool import Tool
from syntor.contracts.errors import ConfigurationError

if TYPE_CHECKING:
    from syntor.agentkit.tools.mcp import McpConnections
    from syntor.agentkit.tools.mcp_config import McpServer

Stamp = tuple[int, int]


class McpTools:
    """Watches `<home>/mcp.json` and keeps connections to its servers."""

    def __init__(self, home: Path, environ: Mapping[str, str]) -> None:
        self._home = home
        self._environ = dict(environ)
        self._stamp: Stamp | None = None
        self._servers: dict[str, McpServer] = {}
        self._problem = ""
        self._connections: McpConnections | None = None

    async def tools(self, requested: list[str]) -> tuple[dict[str, Tool], list[str]]:
        """Return the tools a manifest's list includes, and the problems of servers that are unavailable."""
        if not any(is_mcp_name(name) for name in requested):
            return {}, []
        self._read()
        servers = {name: server for name, server in self._servers.items() if lists_server(requested, name)}
        problems = [self._problem] if self._problem else []
        if not servers and self._connections is None:
            return {}, problems
        if self._connections is None:
            new = await asyncio.to_thread(_new_connections)
            self._connections = self._connections or new  # another task may have been first
        tools: dict[str, Tool] = {}
        for connection in await self._connections.use(servers):
            tools |= await connection.tools()
            if connection.problem:
                problems.append(f"MCP server {connection.name} is unavailable: {connection.problem}")
        return tools, problems

    async def close(self) -> None:
        """Disconnect."""
        if self._connections is not None:
            await self._connections.close()

    def _read(self) -> None:
        """Read the file again if it changed."""
        try:
            status = (self._home / CONFIG_FILE).stat()
            stamp: Stamp = (status.st_mtime_ns, status.st_size)
        except FileNotFoundError:
            self._stamp, self._servers, self._problem = None, {}, ""
            return
        except OSError:
            stamp = (0, 0)
        if stamp == self._stamp:
            return
        from syntor.agentkit.tools.mcp_config import read_servers  # loads pydantic

        self._stamp, self._problem = stamp, ""
        try:
            self._servers = read_servers(self._home, self._environ)
        except ConfigurationError as exc:
            self._servers, self._problem = {}, f"MCP servers are not used: {exc}"


def _new_connections() -> McpConnections:
    """Load the client library, in a thread: it takes more than a second of CPU, and the event loop renews leases."""
    from syntor.agentkit.tools.mcp import McpConnections

    return McpConnections()
