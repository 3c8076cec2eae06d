"""The MCP servers people configured: `<home>/mcp.json`, in the form other tools read as well. Pure but for reading it.

{"mcpServers": {"issues": {"command": "issues-mcp", "args": ["--read-only"], "env": {"TOKEN": "${ISSUES_TOKEN}"}},
                "docs": {"url": "https://docs.example.org/mcp", "headers": {"Authorization": "Bearer ${DOCS}"}}}}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from syntor.contracts.decoding import UNDECODABLE
from syntor.contracts.errors import ConfigurationError
from syntor.contracts.ids import is_token

FILE = "mcp.json"
PREFIX = "mcp_"
ANY = "mcp"
"""Name that stands for the tools of all servers in a manifest; `mcp_<server>` stands for those of one."""
_VARIABLE = re.compile(r"\$\{(\w+)\}")


class McpServer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one server is reached: by a command, or at a URL."""

    command: str = ""
    args: list[str] = []
    env: dict[str, str] = {}
    """Variables for the command; `${NAME}` is that of the agents' environment."""
    url: str = ""
    headers: dict[str, str] = {}
    """Headers of each request; `${NAME}` as above."""
    type: str = ""
    """stdio or http; found out by itself, accepted because others write it."""
    disabled: bool = False


class _Document(msgspec.Struct, frozen=True, rename={"servers": "mcpServers"}):
    servers: dict[str, McpServer] = {}


def read_servers(home: Path, environ: Mapping[str, str]) -> dict[str, McpServer]:
    """Return the servers that are on, by name, with variables filled in; none where there is no file.

    Raises:
        ConfigurationError: the file is wrong; names the server and the fault.
    """
    path = home / FILE
    try:
        document = msgspec.json.decode(path.read_bytes(), type=_Document)
    except FileNotFoundError:
        return {}
    except (OSError, *UNDECODABLE) as exc:
        raise ConfigurationError(f"{path}: {exc}") from exc
    return {
        name: _checked(path, name, server, environ) for name, server in document.servers.items() if not server.disabled
    }


def _checked(path: Path, name: str, server: McpServer, environ: Mapping[str, str]) -> McpServer:
    if not is_token(name) or "_" in name:
        raise ConfigurationError(f"{path}: server {name!r}: use letters, digits and '-' for its name")
    if bool(server.command) == bool(server.url):
        raise ConfigurationError(f"{path}: server {name!r}: give either command or url")
    if server.url and not server.url.startswith(("http://", "https://")):
        raise ConfigurationError(f"{path}: server {name!r}: url {server.url!r}: expected http:// or https://")

    def filled(value: str) -> str:
        for variable in _VARIABLE.findall(value):
            if variable not in environ:
                raise ConfigurationError(f"{path}: server {name!r}: ${{{variable}}} is not set in the environment")
        return _VARIABLE.sub(lambda found: environ[found[1]], value)

    return msgspec.structs.replace(
        server,
        env={key: filled(value) for key, value in server.env.items()},
        headers={key: filled(value) for key, value in server.headers.items()},
    )


def wanted(tools: list[str], server: str) -> bool:
    """Tell whether a manifest's list of tools asks for those of a server."""
    return ANY in tools or f"{PREFIX}{server}" in tools
