"""Connections of commands to the configured MCP servers. Loads the client library: import it where it is needed."""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from mcp import Client

from syntor.agentkit.domain.mcp_names import CONFIG_FILE, PROJECT_FILE
from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.tools import mcp as connections
from syntor.agentkit.tools.mcp import McpConnection
from syntor.agentkit.tools.mcp_config import ConfiguredServer, McpConfiguration, read_servers
from syntor.agentkit.tools.mcp_resources import read_resource
from syntor.configuration.trust import Trust, trust_of
from syntor.contracts.errors import InvalidInputError, NotReachableError
from syntor.contracts.visible_text import visible_line
from syntor.stack.layout import home_folder

T = TypeVar("T")
MAX_PROMPT = 256 * 1024  # characters of a prompt's messages


def configured() -> McpConfiguration:
    """Return the servers of the home folder, and of the working folder if the user trusts it."""
    home, here = home_folder(os.environ), Path.cwd()
    files = [(home / CONFIG_FILE, Path.home())]
    if (here / PROJECT_FILE).is_file() and trust_of(home, here) is Trust.TRUSTED:
        files.append((here / PROJECT_FILE, here))
    return read_servers(files, os.environ)


def find(name: str) -> ConfiguredServer:
    """Return one server.

    Raises:
        InvalidInputError: there is none of that name, or its entry is wrong.
    """
    found = configured()
    if name not in found.servers:
        known = ", ".join(found.servers) or "none"
        raise InvalidInputError("\n".join([f"no MCP server {name!r}; there are {known}", *found.problems]))
    return found.servers[name]


def connected(server: ConfiguredServer, use: Callable[[McpConnection], Awaitable[T]]) -> T:
    """Return what `use` returns for a connection to a server.

    Raises:
        NotReachableError: it cannot be reached.
        InvalidInputError: it refused.
    """

    async def run() -> T:
        connection = McpConnection(server, home_folder(os.environ), os.environ)
        try:
            await connection.open(wait_s=connections.CONNECT_TIMEOUT_S)
            if connection.problem:
                raise NotReachableError(f"MCP server {server.name}: {connection.problem}")
            return await use(connection)
        except ToolError as exc:
            raise InvalidInputError(str(exc)) from exc
        finally:
            await connection.close()

    return asyncio.run(run())


def resource(server: str, uri: str) -> str:
    """Return the text of a resource; errors as `find` and `connected`."""
    return connected(find(server), lambda connection: read_resource(connection, uri))


def prompt_text(server: str, prompt: str, rest: str) -> str:
    """Return the text of a prompt's messages; errors as `find` and `connected`.

    Args:
        rest: the arguments: `name=value` words, or the values in the order of the prompt's arguments.
    """

    async def read(client: Client) -> str:
        known = {each.name: each for each in (await client.list_prompts(cache_mode="refresh")).prompts}
        if prompt not in known:
            raise ToolError(f"the MCP server {server} has no prompt {prompt!r}; there are {', '.join(known) or 'none'}")
        names = [each.name for each in known[prompt].arguments or []]
        given = arguments(names, rest)
        missing = [each.name for each in known[prompt].arguments or [] if each.required and each.name not in given]
        if missing:
            raise ToolError(f"/mcp__{server}__{prompt} needs {', '.join(missing)}")
        result = await client.get_prompt(prompt, given)
        texts = [_said(message.role, message.content, len(result.messages)) for message in result.messages]
        return "\n\n".join(texts)[:MAX_PROMPT]

    return connected(find(server), lambda connection: connection.use(read))


def arguments(names: list[str], rest: str) -> dict[str, str]:
    """Return a prompt's arguments by name; the last one takes what is left."""
    try:
        words = shlex.split(rest)
    except ValueError:  # a quote that is not closed, as in: don't
        words = rest.split()
    given: dict[str, str] = {}
    free: list[str] = []
    for word in words:
        name, equals, value = word.partition("=")
        if equals and name in names:
            given[name] = value
        else:
            free.append(word)
    open_names = [name for name in names if name not in given]
    for number, name in enumerate(open_names):
        if number < len(free):
            last = number == len(open_names) - 1
            given[name] = " ".join(free[number:]) if last else free[number]
    return given


def prompts(server: ConfiguredServer) -> list[tuple[str, str]]:
    """Return the prompts of a server: `name ARGUMENTS`, and what each is for; errors as `connected`."""

    async def read(connection: McpConnection) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []

        async def of(client: Client) -> str:
            if client.server_capabilities.prompts is not None:
                for each in (await client.list_prompts(cache_mode="refresh")).prompts:
                    names = " ".join(f"{a.name}" if a.required else f"[{a.name}]" for a in each.arguments or [])
                    text = visible_line(each.description or each.title or "", 100)
                    found.append((f"{visible_line(each.name, 64)} {visible_line(names, 100)}".strip(), text))
            return ""

        await connection.use(of)
        return found

    return connected(server, read)


def _said(role: str, content: object, count: int) -> str:
    text = getattr(content, "text", None)
    if text is None:
        text = getattr(getattr(content, "resource", None), "text", None) or f"({getattr(content, 'type', '')}, omitted)"
    return str(text) if count == 1 else f"{role}: {text}"
