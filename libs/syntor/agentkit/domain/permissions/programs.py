"""The files a shell command runs as programs, also through the scripts it runs, and the paths it stages."""

from __future__ import annotations

import posixpath
import re

from syntor.agentkit.domain.permissions import words as w
from syntor.agentkit.domain.permissions.command import SimpleCommand
from syntor.agentkit.domain.permissions.file_uses import operands, option_value
from syntor.agentkit.domain.permissions.files import Files, absolute, inside
from syntor.agentkit.domain.permissions.git_hazards import staged_paths
from syntor.agentkit.domain.permissions.parser import parse_command
from syntor.agentkit.domain.permissions.running_programs import SHELLS, interpreter

_SYSTEM = ("/usr/", "/bin/", "/sbin/", "/dev/", "/lib", "/opt/")
_MAX_DEPTH = 3


def programs_of(command: SimpleCommand) -> list[str]:
    """Return the files a command names as programs: scripts, makefiles, executables by path."""
    name, rest = command.name, list(command.words[1:])
    if command.is_wrapper or not command.words:
        return []
    found = [command.words[0]] if "/" in command.words[0] and w.is_known(command.words[0]) else []
    if name in (".", "source") and rest:
        found.append(rest[0])
    elif name in SHELLS or interpreter(name):
        if not any(re.match(r"-[a-z]*c$|-m$|-e$|--eval$", word) for word in rest[:4]):
            found += operands(name, [word for word in rest if word not in ("-o", "-O")])[:1]
        found += [redirection.target for redirection in command.redirections if redirection.operator == "<"]
    elif name in ("make", "gmake", "just", "task"):
        named = option_value(rest, "-f", "--file", "--makefile")
        folder = option_value(rest, "-C", "--directory")
        choices = [named] if named else ["GNUmakefile", "makefile", "Makefile", "justfile", "Justfile", "Taskfile.yml"]
        found += [f"{folder}/{each}" if folder else each for each in choices]
    elif name in ("npm", "yarn", "pnpm", "bun") and rest:
        found.append("package.json")
    elif name in ("awk", "gawk", "sed", "perl") and (script := option_value(rest, "-f")):
        found.append(script)
    return [word for word in found if not w.is_pattern(word)]


def program_files(text: str, files: Files, *, via: str = "", depth: int = 0) -> list[str]:
    """Return the absolute paths of the scripts, makefiles and programs of the workspace that a command names."""
    found: dict[str, None] = {}
    for command in parse_command(text, via=via).commands:
        for word in programs_of(command):
            path = absolute(files, command.cwd, word)
            if path is None or path.startswith(_SYSTEM) or path in found:
                continue
            found[path] = None
            script = files.text(path) if depth < _MAX_DEPTH and not _is_data(path) else None
            if script:
                found |= dict.fromkeys(program_files(script, files, via=path, depth=depth + 1))
    return list(found)


def _is_data(path: str) -> bool:
    return path.endswith((".py", ".js", ".ts", ".rb", ".pl", ".php", ".json", ".yml")) or "akefile" in path


def staging(text: str, files: Files) -> list[str]:
    """Return the paths, relative to the workspace, that a command stages for a commit; empty: it stages none."""
    found: list[str] = []
    for command in parse_command(text).commands:
        if command.name != "git" or command.is_wrapper:
            continue
        for word in staged_paths(command) or ():
            path = absolute(files, _folder(command.words, command.cwd), word) if w.is_known(word) else files.root
            here = inside(files, path) if path is not None else ""
            found.append(w.shown(here or ".") if here is not None else ".")
    return found


def _folder(words: tuple[str, ...], cwd: str | None) -> str | None:
    """Return the folder git works in: `-C` moves it."""
    if "-C" in words[:-1] and cwd is not None:
        return posixpath.join(cwd, words[words.index("-C") + 1])
    return cwd
