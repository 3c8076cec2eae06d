"""What a line typed into the session means: pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path

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
    "models": "show which agent uses which model",
    "status": "show session, agent and stack",
    "config": "show the configuration",
    "runs": "show the newest runs",
    "copy": "copy the last answer, or the n-th last, to the clipboard",
    "clear": "start a new session on a clear screen",
    "quit": "leave; the session is kept",
}
ALIASES = {"exit": "quit", "coord": "coordination", "documentation": "docs"}
MAX_ATTACHMENT_BYTES = 256 * 1024
_MENTION = re.compile(r"(?<!\S)@([^\s@]+)")


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
    """Tell what a line is; what begins with a slash and is no command is never a message."""
    if not line.startswith("/"):
        return Message(line)
    word, _, rest = line[1:].partition(" ")
    name = word.lower()
    known = {*BUILT_IN, *ALIASES, *custom}
    if name in known:
        custom_wins = name in set(custom)
        return Slash(name if custom_wins else ALIASES.get(name, name), rest.strip())
    return Unknown(word, difflib.get_close_matches(name, sorted(known), n=2, cutoff=0.6))


def mentions(text: str) -> list[str]:
    """Return the paths mentioned with @, in order, each once."""
    return list(dict.fromkeys(match.rstrip(".,;:!?)") for match in _MENTION.findall(text)))


def attach(text: str, folder: Path) -> tuple[list[dict[str, str]], list[str]]:
    """Return attachments for the files a text mentions, and a line for each that cannot be attached."""
    attachments: list[dict[str, str]] = []
    errors: list[str] = []
    for path in mentions(text):
        file = (folder / path).expanduser()
        try:
            data = file.read_bytes()
        except OSError as exc:
            errors.append(f"@{path}: {exc.strerror}")
            continue
        if len(data) > MAX_ATTACHMENT_BYTES or b"\0" in data:
            errors.append(f"@{path}: larger than {MAX_ATTACHMENT_BYTES // 1024} KiB, or not text")
            continue
        attachments.append({"name": path, "content": data.decode("utf-8", "replace")})
    return attachments, errors
