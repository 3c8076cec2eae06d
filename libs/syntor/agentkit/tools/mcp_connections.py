"""Connections to all configured servers, shared by the tasks of an agent's process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

from syntor.agentkit.domain.mcp_names import CONFIG_FILE, RESOURCES
from syntor.agentkit.tools.mcp import McpConnection
from syntor.agentkit.tools.mcp_config import ConfiguredServer
from syntor.agentkit.tools.mcp_consent import offered_tools
from syntor.agentkit.tools.mcp_resources import resources_tool
from syntor.agentkit.tools.tool import Tool

IDLE_S = 900.0  # a connection no task asked for in this time is closed
MAX_TOOLS = 512  # of all servers together: models take no more, and few take as many


class McpConnections:
    """One connection for each server as it is configured; one whose configuration changed is opened anew."""

    def __init__(self, home: Path, environ: Mapping[str, str]) -> None:
        self._home = home
        self._environ = dict(environ)
        self._known: dict[tuple[str, str], McpConnection] = {}
        """By source and name."""
        self._replaced: list[McpConnection] = []
        """Connections to close once no call is in progress."""
        self._home_file = str(home / CONFIG_FILE)

    async def tools(self, servers: Mapping[str, ConfiguredServer]) -> tuple[dict[str, Tool], list[str]]:
        """Return the tools of servers by their names for agents, and what is wrong with the others."""
        connections = [self._connection(each) for each in servers.values()]
        await self._close_unused(servers)
        await asyncio.gather(*(connection.open() for connection in connections))
        tools: dict[str, Tool] = {}
        problems: list[str] = []
        for connection in connections:
            offered, notes = offered_tools(connection)
            for name, tool in offered.items():
                if len(tools) < MAX_TOOLS:
                    tools.setdefault(name, tool)
            problems += notes
            if connection.problem:
                problems.append(f"MCP server {connection.name} is unavailable: {connection.problem}")
        open_ = {connection.name: connection for connection in connections if connection.has_resources}
        if open_:
            tools[RESOURCES] = resources_tool(open_)
        return tools, problems

    async def close(self) -> None:
        """Close all."""
        known, self._known = [*self._known.values(), *self._replaced], {}
        await asyncio.gather(*(connection.close() for connection in known))

    def _connection(self, configured: ConfiguredServer) -> McpConnection:
        key = (configured.source, configured.name)
        known = self._known.get(key)
        if known is None or known.configured != configured:
            if known is not None:
                self._replaced.append(known)
            known = self._known[key] = McpConnection(configured, self._home, self._environ)
        return known

    async def _close_unused(self, servers: Mapping[str, ConfiguredServer]) -> None:
        """Close what is no longer configured or was not used for a while; never one with a call in progress."""
        wanted = {(each.source, name) for name, each in servers.items()}
        limit = time.monotonic() - IDLE_S
        for key in [key for key in self._known if key not in wanted]:
            known = self._known[key]
            if key[0] == self._home_file or known.used_at < limit:  # every task sees the home's servers
                self._replaced.append(self._known.pop(key))
        closing = [each for each in self._replaced if not each.is_busy]
        self._replaced = [each for each in self._replaced if each.is_busy]
        await asyncio.gather(*(each.close() for each in closing))
