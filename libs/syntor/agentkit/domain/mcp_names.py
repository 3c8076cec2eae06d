"""How tools of MCP servers are named: `mcp_<server>_<tool>`, and what a manifest lists to get them."""

from __future__ import annotations

from collections.abc import Iterable

from syntor.contracts.ids import is_token

PREFIX = "mcp_"
CONFIG_FILE = "mcp.json"
"""File of the home folder that configures the servers."""
ANY = "mcp"
"""Name in a manifest that stands for the tools of all servers; `mcp_<server>` stands for those of one."""


def is_server_name(name: str) -> bool:
    """Return whether a server may have a name: a token without the underscore that separates the parts of a tool's."""
    return is_token(name) and "_" not in name


def is_mcp_name(tool: str) -> bool:
    """Return whether a name in a manifest stands for tools of MCP servers."""
    return tool == ANY or tool.startswith(PREFIX)


def lists_server(tools: Iterable[str], server: str) -> bool:
    """Return whether a manifest's list of tools includes those of a server."""
    return any(tool in (ANY, f"{PREFIX}{server}") for tool in tools)


def server_of(tool: str) -> str:
    """Return the server a tool's name points to, in lower case; empty for a tool of none."""
    return tool.split("_")[1].lower() if tool.startswith(PREFIX) else ""
