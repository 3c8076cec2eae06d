"""The MCP servers people configured: `mcp.json` of the home folder and `.mcp.json` of a trusted project.

The form is that of other tools, so files can be shared: entries below `mcpServers` or `servers`, keys that only other
tools use are noted and ignored, and a wrong entry costs only its server. The module loads pydantic; import it only
where there is such a file.

{"mcpServers": {"issues": {"command": "issues-mcp", "args": ["--read-only"], "env": {"TOKEN": "${ISSUES_TOKEN}"}},
                "docs": {"url": "https://docs.example.org/mcp", "headers": {"Authorization": "Bearer ${DOCS}"}}}}
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, cast

import msgspec
from pydantic import AliasChoices, BeforeValidator, ConfigDict, Field, model_validator

from syntor.agentkit.domain.mcp_names import server_name
from syntor.documents import Document, InvalidDocumentError, nearest, parse_json, read_text
from syntor.documents.models import DocumentModel, Matching, expectation
from syntor.documents.validation import validate

MAX_SERVERS = 64
DEFAULT_TIMEOUT_S = 120.0
_SECTIONS = ("mcpServers", "servers")
_URL = re.compile(r"https?://[^\s/]|\Z")
_URL_OR_VARIABLE = re.compile(rf"{_URL.pattern}|.*\$\{{")
_NOT_OBEYED = ("autoApprove", "alwaysAllow", "trust", "autoStart")
_NOTHING_TO_DO = frozenset({"$schema", "inputs", "version"})
_VARIABLE = re.compile(r"\$\{(?:(env|input|command|config):)?([A-Za-z_][\w.-]*)(?::-([^}]*))?\}")
_KINDS = {
    **dict.fromkeys(("stdio", "local"), "stdio"),
    **dict.fromkeys(("http", "streamable-http", "streamable_http", "streamablehttp", "remote"), "http"),
    "sse": "sse",
}
MS_FROM = 1000  # a time-out from here on is in milliseconds, as some tools write it


def _kind(value: Any) -> Any:
    if not isinstance(value, str) or not value:
        return value
    known = _KINDS.get(value.lower())
    if known is None:
        raise expectation(f"one of {', '.join(_KINDS)}")
    return known


def _seconds(value: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value / 1000 if number and value >= MS_FROM else float(value) if number else value


Text = Annotated[str, Field(max_length=8192)]
Name = Annotated[str, Field(min_length=1, max_length=256)]
Variables = Annotated[dict[Name, Text], Field(max_length=64)]


class McpOAuth(DocumentModel):
    """How a remote server is logged in to, where it does not register clients itself."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    client_id: Text = Field(default="", alias="clientId")
    """Id of a client registered by hand."""
    client_secret: Text = Field(default="", alias="clientSecret")
    """Its secret; `${NAME}` as in headers."""
    scope: Text = ""
    """Scopes to request, separated by spaces; empty: those the server names."""
    callback_port: Annotated[int, Field(ge=0, le=65535)] = Field(default=0, alias="callbackPort")
    """Port on 127.0.0.1 the browser comes back to; 0: any that is free."""


class McpServer(DocumentModel):
    """How one server is reached: by a command, or at a URL."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    command: Text = ""
    """Program to start; its standard input and output carry the protocol."""
    args: Annotated[list[Text], Field(max_length=256)] = []
    """Arguments of the command."""
    env: Variables = {}
    """Variables for the command."""
    env_file: Text = Field(default="", alias="envFile")
    """File of lines NAME=VALUE for the command, relative to the file's folder; `env` takes precedence."""
    cwd: Text = ""
    """Folder the command starts in; empty: that of the file's project, or the home folder."""
    url: Annotated[Text, Matching(_URL_OR_VARIABLE, "http:// or https:// and a host")] = Field(
        default="", validation_alias=AliasChoices("url", "serverUrl", "httpUrl")
    )
    """Address of a server that runs already."""
    headers: Variables = {}
    """Headers of each request."""
    type: Annotated[str, BeforeValidator(_kind)] = ""
    """stdio, http or sse; derived from the other keys where it is missing."""
    disabled: bool = False
    """True: the server is not used."""
    timeout: Annotated[float, BeforeValidator(_seconds), Field(gt=0, le=3600)] = DEFAULT_TIMEOUT_S
    """Seconds a call may take; 1000 and more are milliseconds."""
    oauth: McpOAuth = McpOAuth()

    @model_validator(mode="after")
    def _check_kind(self) -> McpServer:
        if not self.disabled and bool(self.command) == bool(self.url):
            raise ValueError("give either command or url")
        if not self.disabled and self.type and (self.type == "stdio") != bool(self.command):
            raise ValueError(f"type {self.type} needs {'a command' if self.type == 'stdio' else 'a url'}")
        return self

    @property
    def address(self) -> str:
        """What is reached: command and arguments, or the URL."""
        return self.url or "\0".join([self.command, *self.args])


class _OneServer(DocumentModel):
    """A file with one server, so that errors name where it stands in its file."""

    mcpServers: dict[str, McpServer] = {}  # noqa: N815 - the key in the file
    servers: dict[str, McpServer] = {}


_KEYS = frozenset(McpServer.model_fields) | {"envFile", "serverUrl", "httpUrl"}


class ConfiguredServer(msgspec.Struct, frozen=True):
    """One server of a file, with its variables filled in."""

    name: str
    """Its name for agents."""
    server: McpServer
    folder: str
    """Folder it is started in."""
    source: str
    """File it is configured in."""


class McpConfiguration(msgspec.Struct):
    """The servers of all files, and what is wrong with the others."""

    servers: dict[str, ConfiguredServer] = {}
    """By their names for agents; servers that are off are left out."""
    disabled: list[str] = []
    """Names of servers that are off."""
    problems: list[str] = []
    """One line for each error: file, line, field, cause. A server with an error is not used."""
    notes: list[str] = []
    """One line for each key that is not obeyed."""


def read_servers(files: Iterable[tuple[Path, Path]], environ: Mapping[str, str]) -> McpConfiguration:
    """Return the servers of files; of two with one name the first counts.

    Args:
        files: each with the folder its servers start in, which relative paths in it start from; missing ones have none.
    """
    found = McpConfiguration()
    for path, folder in files:
        try:
            document = parse_json(read_text(path), str(path))
            _add(found, document, folder, environ)
        except FileNotFoundError:
            continue
        except InvalidDocumentError as exc:
            found.problems += exc.problems
    return found


def _add(found: McpConfiguration, document: Document, folder: Path, environ: Mapping[str, str]) -> None:
    content = document.content
    if not isinstance(content, dict):
        raise document.invalid([((), "expected a JSON object with mcpServers")])
    sections = cast("dict[str, Any]", content)
    for path, why in document.repeated:
        found.problems += document.invalid([(path, why)]).problems
    for section, entries in sections.items():
        if section not in _SECTIONS:
            if section not in _NOTHING_TO_DO:
                found.notes.append(_line(document, (section,), "ignored; servers are below mcpServers"))
        elif not isinstance(entries, dict):
            found.problems.append(_line(document, (section,), "expected servers by name"))
        else:
            for name, entry in cast("dict[str, Any]", entries).items():
                try:
                    _add_server(found, document, (section, name), entry, folder, environ)
                except InvalidDocumentError as exc:
                    found.problems += exc.problems


def _add_server(
    found: McpConfiguration,
    document: Document,
    at: tuple[str, str],
    entry: Any,
    folder: Path,
    environ: Mapping[str, str],
) -> None:
    if not isinstance(entry, dict):
        raise document.invalid([(at, "expected a server: command or url")])
    given = cast("dict[str, Any]", entry)
    section, title = at
    if not title.strip():
        raise document.invalid([(at, "a server needs a name")])
    if given.get("enabled") is False:
        given = {**given, "disabled": True}
    known = {key: value for key, value in given.items() if key in _KEYS}
    found.notes += [_line(document, (*at, key), _why_ignored(key, server_name(title))) for key in given.keys() - _KEYS]
    one = msgspec.structs.replace(document, content={section: {title: known}}, repeated=())
    checked = getattr(validate(one, _OneServer), section)[title]
    name = server_name(title)
    if checked.disabled:
        found.disabled.append(name)
        return
    if name in found.servers:
        other = found.servers[name].source
        raise document.invalid([(at, f"there is a server {name} in {other} already; that one is used")])
    if len(found.servers) >= MAX_SERVERS:
        raise document.invalid([(at, f"at most {MAX_SERVERS} servers are used")])
    filled = _filled(document, at, checked, folder, environ)
    start = folder / filled.cwd if filled.cwd else folder
    found.servers[name] = ConfiguredServer(name, filled, str(start), document.source)


def _why_ignored(key: str, name: str) -> str:
    if key in _NOT_OBEYED:
        return f"not obeyed: permission rules decide, such as permissions.allow: [mcp_{name}_TOOL]"
    if key == "enabled":
        return "read as the opposite of disabled"
    near = nearest(key, _KEYS)
    return f"unknown key, ignored{'; ' + near if near else ''}"


def _line(document: Document, path: tuple[str, ...], why: str) -> str:
    """Return a line about a place in a file, as errors have it."""
    return document.invalid([(path, why)]).problems[0]


class _Variables:
    """Fills `${NAME}`, `${env:NAME}` and `${NAME:-default}`; keeps what is missing."""

    def __init__(self, environ: Mapping[str, str], folder: Path) -> None:
        self._environ = environ
        self._known = {"workspaceFolder": str(folder), "workspaceRoot": str(folder), "userHome": str(Path.home())}
        self.missing: list[str] = []

    def fill(self, text: str) -> str:
        return _VARIABLE.sub(self._value, text)

    def _value(self, match: re.Match[str]) -> str:
        kind, name, default = match[1], match[2], match[3]
        if kind not in (None, "env"):
            self.missing.append(f"{match[0]} is asked for by other tools only; use ${{{name}}} and set the variable")
        elif name.upper().startswith("SYNTOR_"):
            self.missing.append(f"{match[0]} is Syntor's own and is given to no server")
        elif kind is None and name in self._known:
            return self._known[name]
        elif (value := self._environ.get(name)) or (value is not None and default is None):
            return value
        elif default is not None:
            return default
        else:
            self.missing.append(f"{match[0]} is not set in the environment")
        return ""


def _filled(
    document: Document, at: tuple[str, str], server: McpServer, folder: Path, environ: Mapping[str, str]
) -> McpServer:
    """Return a server with its variables filled in.

    Raises:
        InvalidDocumentError: a variable is missing, or the file of variables cannot be read; names every one.
    """
    problems: list[tuple[tuple[str, ...], str]] = []
    variables = _Variables(environ, folder)

    def fill(text: str, *where: str) -> str:
        before = len(variables.missing)
        filled = variables.fill(text)
        problems.extend(((*at, *where), why) for why in variables.missing[before:])
        return filled

    changes: dict[str, Any] = {key: fill(getattr(server, key), key) for key in ("command", "url", "cwd", "env_file")}
    changes["args"] = [fill(text, "args", str(number)) for number, text in enumerate(server.args)]
    for part in ("env", "headers"):
        changes[part] = {key: fill(text, part, key) for key, text in getattr(server, part).items()}
    secret = fill(server.oauth.client_secret, "oauth", "clientSecret")
    changes["oauth"] = server.oauth.model_copy(update={"client_secret": secret})
    if changes["env_file"]:
        try:
            changes["env"] = _read_env(folder / Path(changes["env_file"]).expanduser()) | changes["env"]
        except (FileNotFoundError, InvalidDocumentError) as exc:
            problems.append(((*at, "envFile"), str(exc)))
    if changes["url"] and not _URL.match(changes["url"]):
        problems.append(((*at, "url"), "expected http:// or https:// and a host"))
    if problems:
        raise document.invalid(problems)
    return server.model_copy(update=changes)


def _read_env(path: Path) -> dict[str, str]:
    """Return the variables of a file of lines NAME=VALUE; quotes around a value are removed."""
    found: dict[str, str] = {}
    for line in read_text(path).splitlines():
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and name.strip() and not line.lstrip().startswith("#"):
            value = value.strip()
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
            found[name.strip()] = value[1:-1] if quoted else value
    return found
