"""Tools that read and change files: read_file, write_file, edit_file, list_directory, glob, grep."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from syntor.agentkit.domain.secret_files import is_secret
from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.tools.edits import EditFile, WriteFile, edit_file, edit_preview, write_file, write_preview
from syntor.agentkit.tools.paths import inside
from syntor.agentkit.tools.tool import Tool, ToolRun, bounded

MAX_FILE_BYTES = 1024 * 1024
MAX_MATCHES = 200
MAX_FILES = 20_000
_MIN_LINES = 20  # fewer are rarely useful, and small models request a single one
_SKIPPED = frozenset({".git", "node_modules", "__pycache__", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache"})


class ReadFile(msgspec.Struct, frozen=True):
    """Arguments of read_file."""

    path: str
    start_line: int = 1
    lines: int = 400


class ListDirectory(msgspec.Struct, frozen=True):
    """Arguments of list_directory."""

    path: str = "."


class Glob(msgspec.Struct, frozen=True):
    """Arguments of glob."""

    pattern: str


class Grep(msgspec.Struct, frozen=True):
    """Arguments of grep: `path` is a file, a folder or a pattern such as src/*.py."""

    pattern: str
    path: str = "."


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ToolError(f"{path.name} is larger than {MAX_FILE_BYTES} bytes; use grep")
        data = path.read_bytes()
    except OSError as exc:
        raise ToolError(f"{path.name}: {exc.strerror}") from exc
    if b"\0" in data:
        raise ToolError(f"{path.name} is not a text file")
    return data.decode("utf-8", "replace")


async def read_file(run: ToolRun, arguments: ReadFile) -> str:
    """Return numbered lines of a file."""
    text = await asyncio.to_thread(_read, inside(run.workspace, arguments.path))
    lines = text.splitlines()
    first = max(1, arguments.start_line)
    shown = lines[first - 1 : first - 1 + max(_MIN_LINES, arguments.lines)]
    numbered = "\n".join(f"{number:5} {line}" for number, line in enumerate(shown, first))
    rest = len(lines) - (first - 1 + len(shown))
    return bounded(numbered) + (f"\n... {rest} more lines" if rest > 0 else "")


async def list_directory(run: ToolRun, arguments: ListDirectory) -> str:
    """Return the names in a folder, folders with a slash."""

    def names() -> list[str]:
        folder = inside(run.workspace, arguments.path)
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as exc:
            raise ToolError(f"{arguments.path}: {exc.strerror}") from exc
        return [entry.name + ("/" if entry.is_dir(follow_symlinks=False) else "") for entry in entries]

    return bounded("\n".join(await asyncio.to_thread(names)) or "(empty)")


def _files(root: Path) -> Iterator[Path]:
    """Yield files below a folder, without following links, skipping generated folders."""
    count = 0
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED)
        for name in sorted(names):
            count += 1
            if count > MAX_FILES:
                return
            yield Path(folder) / name


async def glob(run: ToolRun, arguments: Glob) -> str:
    """Return paths that match a pattern such as `**/*.py`."""

    def find() -> list[str]:
        pattern = arguments.pattern.lstrip("./")
        found: list[str] = []
        workspace = run.workspace.resolve()
        for path in _files(workspace):
            relative = path.relative_to(workspace)
            if _matches(relative, pattern):
                found.append(str(relative))
        return found

    found = await asyncio.to_thread(find)
    rest = f"\n... {len(found) - MAX_MATCHES} more" if len(found) > MAX_MATCHES else ""
    return bounded("\n".join(found[:MAX_MATCHES]) or "no file matches") + rest


def _searched(workspace: Path, path: str) -> Iterator[Path]:
    """Yield the files to search: a file, those of a folder, or those that match a pattern."""
    root = inside(workspace, path)
    if root.is_file():
        yield root
    elif root.is_dir():
        yield from _files(root)
    elif "*" in path:
        pattern, base = path.lstrip("./"), workspace.resolve()
        yield from (each for each in _files(base) if _matches(each.relative_to(base), pattern))
    else:
        raise ToolError(f"{path}: No such file or directory")


def _matches(path: Path, pattern: str) -> bool:
    """Return whether a path matches a glob; `**/` stands for any number of folders, including none."""
    return path.match(pattern) or ("**/" in pattern and path.match(pattern.replace("**/", "")))


async def grep(run: ToolRun, arguments: Grep) -> str:
    """Return lines that match a regular expression, as `path:line: text`."""
    try:
        pattern = re.compile(arguments.pattern)
    except re.error as exc:
        raise ToolError(f"pattern {arguments.pattern!r}: {exc}") from exc

    def search() -> list[str]:
        base = run.workspace.resolve()
        found: list[str] = []
        for path in _searched(run.workspace, arguments.path):
            if is_secret(path.relative_to(base)) or path.is_symlink():
                continue
            try:
                text = _read(path)
            except ToolError:
                continue
            for number, line in enumerate(text.splitlines(), 1):
                if pattern.search(line):
                    found.append(f"{path.relative_to(base)}:{number}: {line.strip()[:300]}")
                    if len(found) >= MAX_MATCHES:
                        return [*found, f"... stopped at {MAX_MATCHES} matches"]
        return found

    return bounded("\n".join(await asyncio.to_thread(search)) or "no line matches")


def _reads(
    name: str, description: str, arguments: type[msgspec.Struct], run: Callable[[ToolRun, Any], Awaitable[str]]
) -> Tool:
    return Tool(
        name=name,
        description=description,
        arguments=arguments,
        run=run,
        paths=lambda given: [given.path] if hasattr(given, "path") else [],
        effect="read",
        repeatable=True,
        subject=lambda given: str(getattr(given, "path", "")),
    )


FILE_TOOLS = (
    _reads("read_file", "Read lines of a text file.", ReadFile, read_file),
    _reads("list_directory", "List a folder.", ListDirectory, list_directory),
    _reads("glob", "Find files by a pattern such as **/*.py.", Glob, glob),
    _reads("grep", "Find lines by a regular expression.", Grep, grep),
    Tool(
        name="write_file",
        description="Write a whole text file; makes folders that are missing.",
        arguments=WriteFile,
        run=write_file,
        paths=lambda given: [given.path],
        effect="write",
        repeatable=True,  # the same content again changes nothing
        preview=write_preview,
        subject=lambda given: given.path,
    ),
    Tool(
        name="edit_file",
        description="Replace text in a file. old_string must be there exactly once, or set replace_all.",
        arguments=EditFile,
        run=edit_file,
        paths=lambda given: [given.path],
        effect="write",
        repeatable=False,
        preview=edit_preview,
        subject=lambda given: given.path,
    ),
)
