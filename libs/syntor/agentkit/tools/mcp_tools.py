"""Tools of configured MCP servers for an agent. The client library, 25 MB, is loaded only where there is a server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from syntor.agentkit.domain.mcp_names import CONFIG_FILE, PROJECT_FILE, is_mcp_name, lists_server
from syntor.agentkit.tools.tool import Tool
from syntor.configuration.trust import Trust, trust_of
from syntor.contracts.errors import ConfigurationError
from syntor.runtime.telemetry import get_logger

if TYPE_CHECKING:
    from syntor.agentkit.tools.mcp_config import McpConfiguration
    from syntor.agentkit.tools.mcp_connections import McpConnections

Stamp = tuple[tuple[str, int, int], ...]
_MAX_CACHED = 32  # projects whose configuration is kept


class McpTools:
    """Watches `<home>/mcp.json` and the `.mcp.json` of trusted projects, and keeps connections to their servers."""

    def __init__(self, home: Path, environ: Mapping[str, str]) -> None:
        self._home = home
        self._environ = dict(environ)
        self._read: dict[Path | None, tuple[Stamp, McpConfiguration]] = {}
        self._connections: McpConnections | None = None

    async def tools(self, requested: list[str], workspace: Path | None = None) -> tuple[dict[str, Tool], list[str]]:
        """Return the tools a manifest's list includes, and the problems of servers that are unavailable.

        Servers are started concurrently, and one that is slow or hangs is not waited for.

        Args:
            workspace: folder of the run, whose project may configure further servers.
        """
        if not any(is_mcp_name(name) for name in requested):
            return {}, []
        files, problems = self._files(workspace)
        configuration = self._configuration(workspace, files)
        if configuration is None:
            await self._forget_home()
            return {}, problems
        problems += [f"MCP: {problem}" for problem in configuration.problems]
        servers = {name: each for name, each in configuration.servers.items() if lists_server(requested, name)}
        if not servers and self._connections is None:
            return {}, problems
        if self._connections is None:
            new = await asyncio.to_thread(_new_connections, self._home, self._environ)
            self._connections = self._connections or new  # another task may have been first
        tools, found = await self._connections.tools(servers)
        return tools, problems + found

    async def close(self) -> None:
        """Disconnect."""
        if self._connections is not None:
            await self._connections.close()

    async def _forget_home(self) -> None:
        if self._connections is not None:
            await self._connections.tools({})

    def _files(self, workspace: Path | None) -> tuple[list[tuple[Path, Path]], list[str]]:
        """Return the files that count, each with its folder, and a note for one that is not trusted."""
        files = [(self._home / CONFIG_FILE, Path.home())]
        if workspace is None or not (own := workspace / PROJECT_FILE).is_file():
            return files, []
        try:
            if trust_of(self._home, workspace) is Trust.TRUSTED:
                return [*files, (own, workspace)], []
        except ConfigurationError as exc:
            return files, [f"MCP: {exc}"]
        return files, [f"MCP: {own} is not used until you trust the folder: syntor config trust {workspace}"]

    def _configuration(self, workspace: Path | None, files: list[tuple[Path, Path]]) -> McpConfiguration | None:
        """Return the configuration, read again where a file changed; None: there is no file."""
        stamp = tuple(_stamp(path) for path, _ in files)
        if not any(size for _, _, size in stamp):
            self._read.pop(workspace, None)
            return None
        known = self._read.get(workspace)
        if known is not None and known[0] == stamp:
            return known[1]
        from syntor.agentkit.tools.mcp_config import read_servers  # loads pydantic

        found = read_servers(files, self._environ)
        for line in (*found.problems, *found.notes):
            get_logger().warning("mcp_configuration", note=line)
        if len(self._read) >= _MAX_CACHED:
            self._read.clear()
        self._read[workspace] = (stamp, found)
        return found


def _stamp(path: Path) -> tuple[str, int, int]:
    """Return what changes with a file; the size is 0 where there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return (str(path), 0, 0)
    except OSError:
        return (str(path), 0, 1)
    return (str(path), status.st_mtime_ns, max(status.st_size, 1))


def _new_connections(home: Path, environ: Mapping[str, str]) -> McpConnections:
    """Load the client library, in a thread: it takes more than a second of CPU, and the event loop renews leases."""
    from syntor.agentkit.tools.mcp_connections import McpConnections

    return McpConnections(home, environ)
