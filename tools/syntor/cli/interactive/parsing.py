"""Pure parser of a line typed into the session."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

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
_SLASH = re.compile(r"/(\S*)\s*(.*)", re.DOTALL)


class Message(msgspec.Struct, frozen=True):
    """Text for the agent."""

    text: str


class Slash(msgspec.Struct, frozen=True):
    """A command: its name in lower case, without the slash, and what follows."""

    name: str
    rest: str


class Shell(msgspec.Struct, frozen=True):
    """A shell command of the user."""

    command: str


class Unknown(msgspec.Struct, frozen=True):
    """A slash command that does not exist."""

    name: str
    near: list[str]


def parse(line: str, words: Mapping[str, str]) -> Message | Shell | Slash | Unknown:
    """Parse a line. A line that begins with one slash is never a message, with two it is one.

    Args:
        words: name of the command each word stands for.
    """
    line = line.strip()
    if line.startswith("//"):
        return Message(line[1:])
    if line.startswith("!") and line[1:].strip():
        return Shell(line[1:].strip())
    match = _SLASH.match(line)
    if match is None:
        return Message(line)
    name = match[1].lower()
    if name in words:
        return Slash(words[name], match[2].strip())
    near = difflib.get_close_matches(name, sorted(words), n=2, cutoff=0.6)
    near = near or [each for each in sorted(words) if name and each.startswith(name)][:2]
    return Unknown(match[1], near)
