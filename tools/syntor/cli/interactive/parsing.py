"""Pure parser of a line typed into the session."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

import msgspec

AGENTS = {
    "coordination": "coordination",
    "coord": "coordination",
    "docs": "documentation",
    "documentation": "documentation",
    "git": "git",
    "worker": "worker",
    "code": "worker_code",
}
BUILT_IN: dict[str, str] = {
    "help": "list the commands",
    "coordination": "talk to the coordination agent",
    "docs": "talk to the documentation agent",
    "git": "talk to the git agent",
    "worker": "talk to the general worker",
    "code": "talk to the code worker",
    "agent": "talk to any agent, by id",
    "plan": "plan only, without changes; again: back to the previous mode",
    "mode": "set the permission mode: ask, auto-edit, plan, auto",
    "approve": "approve a pending tool call; with an id if several are pending",
    "reject": "reject it; the rest of the line is the reason",
    "models": "show which agent uses which model",
    "status": "show session, agent and stack",
    "config": "show the configuration",
    "runs": "show the newest runs",
    "copy": "copy the last response, or the n-th last, to the clipboard",
    "clear": "start a new session on a clear screen",
    "quit": "quit; the session is kept",
}
ALIASES = {"exit": "quit", "coord": "coordination", "documentation": "docs"}
_SLASH = re.compile(r"/(\S*)\s*(.*)", re.DOTALL)


class Message(msgspec.Struct, frozen=True):
    """Text for the agent."""

    text: str


class Slash(msgspec.Struct, frozen=True):
    """A command: its name in lower case, without the slash, and what follows."""

    name: str
    rest: str


class Unknown(msgspec.Struct, frozen=True):
    """A slash command that does not exist."""

    name: str
    near: list[str]


def parse(line: str, custom: Iterable[str]) -> Message | Slash | Unknown:
    """Parse a line. A line that begins with one slash is never a message, with two it is one."""
    line = line.strip()
    if line.startswith("//"):
        return Message(line[1:])
    match = _SLASH.match(line)
    if match is None:
        return Message(line)
    name, own = match[1].lower(), set(custom)
    known = {*BUILT_IN, *ALIASES, *own}
    if name in known:
        return Slash(name if name in own else ALIASES.get(name, name), match[2].strip())
    near = difflib.get_close_matches(name, sorted(known), n=2, cutoff=0.6)
    near = near or [each for each in sorted(known) if name and each.startswith(name)][:2]
    return Unknown(match[1], near)
