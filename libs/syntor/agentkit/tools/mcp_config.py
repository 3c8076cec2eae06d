"""The MCP servers people configured: `mcp.json` of the home folder, in the form other tools read as well.

The module loads pydantic; import it only where there is such a file.

{"mcpServers": {"issues": {"command": "issues-mcp", "args": ["--read-only"], "env": {"TOKEN": "${ISSUES_TOKEN}"}},
                "docs": {"url": "https://docs.example.org/mcp", "headers": {"Authorization": "Bearer ${DOCS}"}}}}
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from syntor.agentkit.domain.mcp_names import CONFIG_FILE, is_server_name
from syntor.documents import Problem, parse_json, read_text
from syntor.documents.models import DocumentModel, Matching, expectation
from syntor.documents.validation import validate

_VARIABLE = re.compile(r"\$\{(\w+)\}")
_URL = re.compile(r"https?://[^\s/]|\Z")


def _server_name(name: str) -> str:
    if not is_server_name(name):
        raise expectation("letters, digits and '-', at most 64, as the name of a server")
    return name


Text = Annotated[str, Field(max_length=8192)]
Name = Annotated[str, Field(min_length=1, max_length=256)]
Variables = Annotated[dict[Name, Text], Field(max_length=64)]


class McpServer(DocumentModel):
    """How one server is reached: by a command, or at a URL."""

    command: Text = ""
    """Program to start; its standard input and output carry the protocol."""
    args: list[Text] = Field(default=[], max_length=256)
    """Arguments of the command."""
    env: Variables = {}
    """Variables for the command; `${NAME}` is that of the agents' environment."""
    url: Annotated[Text, Matching(_URL, "http:// or https:// and a host")] = ""
    """Address of a server that runs already."""
    headers: Variables = {}
    """Headers of each request; `${NAME}` as above."""
    type: Annotated[str, Field(max_length=64)] = ""
    """stdio or http; derived from the other keys, and accepted because other tools write it."""
    disabled: bool = False
    """True: the server is not used."""

    @model_validator(mode="after")
    def _check_kind(self) -> McpServer:
        if not self.disabled and bool(self.command) == bool(self.url):
            raise ValueError("give either command or url")
        return self


class McpDocument(DocumentModel):
    """A whole mcp.json; keys of other tools are ignored."""

    model_config = ConfigDict(extra="ignore")

    servers: Annotated[dict[Annotated[str, AfterValidator(_server_name)], McpServer], Field(max_length=64)] = Field(
        default={}, alias="mcpServers"
    )
    """By name."""


def read_servers(home: Path, environ: Mapping[str, str]) -> dict[str, McpServer]:
    """Return the servers that are on, by name, with variables filled in; none where there is no file.

    Raises:
        InvalidDocumentError: the file is wrong, or uses a variable that is not set; names line, field and what is
            allowed, for every error.
    """
    path = home / CONFIG_FILE
    try:
        document = parse_json(read_text(path), str(path))
    except FileNotFoundError:
        return {}
    servers = {name: each for name, each in validate(document, McpDocument).servers.items() if not each.disabled}
    if unset := [problem for name, server in servers.items() for problem in _unset(name, server, environ)]:
        raise document.invalid(unset)
    return {name: _filled(server, environ) for name, server in servers.items()}


def _unset(name: str, server: McpServer, environ: Mapping[str, str]) -> Iterator[Problem]:
    """Yield the variables a server uses that the environment does not have."""
    for part, values in (("env", server.env), ("headers", server.headers)):
        for key, value in values.items():
            for variable in _VARIABLE.findall(value):
                if variable not in environ:
                    yield ("mcpServers", name, part, key), f"${{{variable}}} is not set in the environment"


def _filled(server: McpServer, environ: Mapping[str, str]) -> McpServer:
    def fill(values: dict[str, str]) -> dict[str, str]:
        return {key: _VARIABLE.sub(lambda found: environ[found[1]], value) for key, value in values.items()}

    return server.model_copy(update={"env": fill(server.env), "headers": fill(server.headers)})
