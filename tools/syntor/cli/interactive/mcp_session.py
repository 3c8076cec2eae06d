"""MCP servers in a session: prompts as `/mcp__server__prompt`, resources as `@server:uri`. Loads no client library.

The client library is loaded by the first such line, so a session without them starts as fast as before.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from syntor.contracts.run.v1 import Attachment

PROMPT = re.compile(r"/mcp__([A-Za-z0-9-]+)__(\S+)\s*(.*)\Z", re.DOTALL)
_RESOURCE = re.compile(r"(?:(?<=\s)|\A)@([A-Za-z0-9-]+):([a-z][a-z0-9+.-]*:\S+)")

Read = Callable[[str, str], str]


def prompt_of(line: str) -> tuple[str, str, str] | None:
    """Return server, prompt and arguments that a line names; None: it names none."""
    match = PROMPT.match(line.strip())
    return (match[1], match[2], match[3].strip()) if match is not None else None


def resources(text: str, read: Read) -> tuple[str, list[Attachment]]:
    """Return a message without its mentions of resources, and the resources as attachments.

    Args:
        read: returns the text of a resource of a server.
    """
    mentioned = list(dict.fromkeys(_RESOURCE.findall(text)))
    found = [Attachment(name=f"{server}:{uri}", content=read(server, uri)) for server, uri in mentioned]
    return _RESOURCE.sub(lambda match: f"{match[1]}:{match[2]}", text), found


def read_resource(server: str, uri: str) -> str:
    """Return the text of a resource.

    Raises:
        InvalidInputError: there is no such server, or it refused.
        NotReachableError: the server is unavailable.
    """
    from syntor.cli.mcp_access import resource

    return resource(server, uri)


def prompt_text(server: str, prompt: str, rest: str) -> str:
    """Return the text of a prompt; errors as `read_resource`."""
    from syntor.cli import mcp_access

    return mcp_access.prompt_text(server, prompt, rest)


def overview() -> tuple[str, dict[str, str]]:
    """Return the servers and their prompts for people, and the prompts as commands with descriptions."""
    from syntor.cli.mcp_access import configured, prompts
    from syntor.contracts.errors import InvalidInputError, NotReachableError

    found = configured()
    lines: list[str] = []
    commands: dict[str, str] = {}
    for name, server in found.servers.items():
        try:
            offered = prompts(server)
        except (InvalidInputError, NotReachableError) as exc:
            lines.append(f"{name}: {exc}")
            continue
        lines.append(f"{name}: {len(offered)} prompts; resources: @{name}:URI")
        for prompt, text in offered:
            commands[f"mcp__{name}__{prompt.split(' ')[0]}"] = text or f"prompt of {name}"
            lines.append(f"  /mcp__{name}__{prompt}  {text}".rstrip())
    lines += [f"problem: {line}" for line in found.problems]
    return "\n".join(lines) or "no MCP servers; they are configured in mcp.json", commands
