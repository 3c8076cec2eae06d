"""What commands print and where they move to, as far as that is constant."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

from syntor.agentkit.domain.permissions import words as w
from syntor.agentkit.domain.permissions.command import SimpleCommand, Stdin
from syntor.agentkit.domain.permissions.syntax import ansi

_DIRECTIVE = re.compile(r"%[-0-9.]*[a-zA-Z]")


def printed(commands: Sequence[SimpleCommand], stdin: Stdin | None) -> str | None:
    """Return the text that commands print; None: known only when they run."""
    plain = [command for command in commands if not command.is_wrapper]
    if len(plain) != 1:
        return None
    command = plain[0]
    arguments = command.words[1:]
    match command.name:
        case "echo":
            return _echoed(arguments)
        case "printf" if arguments:
            return _formatted(arguments)
        case "cat" | "tee" if not [each for each in arguments if each != "-"]:
            source = command.stdin or stdin
            return source.text if source is not None else None
        case _:
            return None


def _echoed(arguments: Sequence[str]) -> str:
    rest, escapes = list(arguments), False
    while rest and re.match(r"-[neE]+\Z", rest[0]):
        escapes = escapes or "e" in rest.pop(0)
    text = " ".join(rest)
    return (ansi(text) if escapes else text) + "\n"


def _formatted(arguments: Sequence[str]) -> str:
    template, *values = arguments
    if template == "--" and values:
        template, *values = values
    template = ansi(template)
    holes = len(_DIRECTIVE.findall(template))
    if not holes or not values:
        return template.replace("%%", "%")
    lines: list[str] = []
    while values:
        taken, values = values[:holes], values[holes:]
        lines.append(_DIRECTIVE.sub(lambda _: ansi(taken.pop(0)) if taken else "", template))  # noqa: B023 - used within the loop
    return "".join(lines)


def captured(commands: Sequence[SimpleCommand], source: str) -> str:
    """Return the value of a command substitution."""
    plain = [command for command in commands if not command.is_wrapper]
    if len(plain) == 1:
        command = plain[0]
        if command.words in (("pwd",), ("git", "rev-parse", "--show-toplevel")):
            return (command.cwd or ".") if command.cwd is not None and command.name == "pwd" else "."
        if command.name in ("which", "command", "type") and len(command.words) > 1 and w.is_known(command.words[-1]):
            return command.words[-1]
    text = printed(commands, None)
    if text is None and plain and plain[-1].stdin is not None and plain[-1].name in ("cat", "tee"):
        text = printed(plain[-1:], None)
    if text is None or ("|" in source and len(plain) != 1):
        return w.ANY
    return text.rstrip("\n")


def moved(command: SimpleCommand, cwd: str | None) -> str | None:
    """Return the folder after a command: only `cd`, `pushd` and `popd` change it."""
    if command.name not in ("cd", "pushd", "popd"):
        return cwd
    targets = [word for word in command.words[1:] if not re.match(r"-[LPe@]+\Z|--\Z", word)]
    if command.name == "popd" or targets == ["-"]:
        return None
    if not targets:
        return "~" if command.name == "cd" else None
    target = targets[0]
    if w.is_pattern(target):
        return None
    return joined(cwd, target)


def joined(cwd: str | None, path: str) -> str | None:
    """Return a path seen from the workspace; empty: the workspace itself; None: known only at run time."""
    if path.startswith(("/", "~")):
        return posixpath.normpath(path)
    if cwd is None:
        return None
    found = posixpath.normpath(posixpath.join(cwd, path))
    return "" if found == "." else found
