"""How MCP servers and their tools are named for agents: `mcp_<server>_<tool>`, and what a manifest lists to get them.

A name never changes with what else a server offers, and no two tools get the same one: a name that had to be changed
to fit, or that looks as if it had, ends with a hash of the server's own name for it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

PREFIX = "mcp_"
CONFIG_FILE = "mcp.json"
"""File of the home folder that configures the servers."""
PROJECT_FILE = ".mcp.json"
"""File of a project folder that configures further servers."""
ANY = "mcp"
"""Name in a manifest that stands for the tools of all servers; `mcp_<server>` stands for those of one."""
RESOURCES = "mcp_resources"
"""The tool that lists and reads the resources of all servers."""
MAX_NAME = 64  # characters of a tool's name that every provider of models accepts
MAX_SERVER = 24  # of a server's name in it
_HASH = 8
_UNSAFE_SERVER = re.compile(r"[^A-Za-z0-9-]")
_UNSAFE_TOOL = re.compile(r"[^A-Za-z0-9_-]")
_HASHED = re.compile(r"_[0-9a-f]{8}\Z")


def server_name(name: str) -> str:
    """Return a server's name for agents: letters, digits and '-', at most 24 characters, never empty."""
    safe = _UNSAFE_SERVER.sub("-", name)
    if safe == name and 0 < len(name) <= MAX_SERVER:
        return name
    if name.replace("_", "-") == safe and 0 < len(safe) <= MAX_SERVER:
        return safe
    return f"{safe[: MAX_SERVER - _HASH - 1]}-{_hash(name)}"


def tool_name(server: str, tool: str) -> str:
    """Return a tool's name for agents, at most 64 characters.

    Args:
        server: as `server_name` returns it.
    """
    safe = _UNSAFE_TOOL.sub("-", tool)
    room = MAX_NAME - len(PREFIX) - len(server) - 1
    if safe == tool and 0 < len(tool) <= room and not _HASHED.search(tool):
        return f"{PREFIX}{server}_{tool}"
    return f"{PREFIX}{server}_{safe[: room - _HASH - 1]}_{_hash(tool)}"


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH]


def is_mcp_name(tool: str) -> bool:
    """Return whether a name in a manifest stands for tools of MCP servers."""
    return tool == ANY or tool.startswith(PREFIX)


def lists_server(tools: Iterable[str], server: str) -> bool:
    """Return whether a manifest's list of tools includes those of a server."""
    return any(tool in (ANY, f"{PREFIX}{server}") for tool in tools)


def server_of(tool: str) -> str:
    """Return the server a tool's name points to, in lower case; empty for a tool of none."""
    return tool.split("_")[1].lower() if tool.startswith(PREFIX) and tool != RESOURCES else ""
