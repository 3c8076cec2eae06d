"""Tools that read and change files: read_file, write_file, edit_file, list_directory, glob, grep."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from syntor.agentkit.domain.path_names import quoted, unquoted
from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.tools.edits import EditFile, WriteFile, edit_file, edit_preview, write_file, write_preview
from syntor.agentkit.tools.line_reader import read_lines
from syntor.agentkit.tools.search import Glob, Grep, glob, grep
from syntor.agentkit.tools.tool import MAX_OUTPUT_CHARACTERS, Tool, ToolRun, bounded
from syntor.agentkit.tools.workspace_files import names, opened

_MIN_LINES = 20  # fewer are rarely useful, and small models request a single one
_PLAIN = "UTF-8, LF"


class ReadFile(msgspec.Struct, frozen=True):
    """Arguments of read_file."""

    path: Annotated[str, Meta(description="File, relative to the workspace")]
    start_line: Annotated[int, Meta(description="First line to return, counted from 1")] = 1
    lines: Annotated[int, Meta(description="Number of lines to return")] = 400


class ListDirectory(msgspec.Struct, frozen=True):
    """Arguments of list_directory."""

    path: Annotated[str, Meta(description="Folder, relative to the workspace")] = "."


async def read_file(run: ToolRun, arguments: ReadFile) -> str:
    """Return numbered lines of a file."""
    path, first = unquoted(arguments.path), max(1, arguments.start_line)
    return await asyncio.to_thread(_numbered, run.workspace, path, first, max(_MIN_LINES, arguments.lines))


def _numbered(workspace: Path, path: str, first: int, count: int) -> str:
    with opened(workspace, path) as file:
        try:
            excerpt = read_lines(file, first, count)
        except ToolError as exc:
            raise ToolError(f"{quoted(path)} {exc}") from exc
    if not excerpt.lines:
        return f"({quoted(path)} is empty)" if excerpt.before == 0 else f"({quoted(path)} has {excerpt.before} lines)"
    numbered: list[str] = []
    room = MAX_OUTPUT_CHARACTERS
    for number, line in enumerate(excerpt.lines, first):
        numbered.append(f"{number:5} {line}")
        room -= len(numbered[-1]) + 1
        if room < 0:
            break
    following = first + len(numbered)
    left = excerpt.rest + len(excerpt.lines) - len(numbered)
    least = "" if excerpt.complete else "at least "
    rest = [f"... {least}{left} more lines; continue with start_line {following}"] if left else []
    form = [f"({excerpt.form})"] if excerpt.form not in ("", _PLAIN) else []
    return "\n".join([*numbered, *rest, *form])


async def list_directory(run: ToolRun, arguments: ListDirectory) -> str:
    """Return the names in a folder, folders with a slash."""
    found = await asyncio.to_thread(names, run.workspace, unquoted(arguments.path))
    return bounded("\n".join(quoted(name) for name in found) or "(empty)")


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
