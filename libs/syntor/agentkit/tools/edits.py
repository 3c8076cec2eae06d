"""Changes of files: whole, or one text for another. A file is replaced at once, never left half written."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import os
import stat
import tempfile
from pathlib import Path

import msgspec

from syntor.agentkit.tools.policy import resolve
from syntor.agentkit.tools.tool import ToolError, ToolRun

MAX_FILE_BYTES = 5 * 1024 * 1024
_PREVIEW_LINES = 80


class WriteFile(msgspec.Struct, frozen=True):
    """Arguments of write_file."""

    path: str
    content: str


class EditFile(msgspec.Struct, frozen=True):
    """Arguments of edit_file."""

    path: str
    old_string: str
    new_string: str
    replace_all: bool = False


async def write_file(run: ToolRun, arguments: WriteFile) -> str:
    """Write a file; say how long it is now."""

    def write() -> str:
        path = _target(run.workspace, arguments.path)
        _replace(path, arguments.content)
        return f"wrote {arguments.path}, {len(arguments.content.splitlines())} lines"

    return await asyncio.to_thread(write)


async def edit_file(run: ToolRun, arguments: EditFile) -> str:
    """Replace text in a file; return the lines around it as they are now."""

    def edit() -> str:
        path = _target(run.workspace, arguments.path)
        before = _text(path, arguments.path)
        after = edited(before, arguments)
        _replace(path, after)
        return f"edited {arguments.path}:\n" + diff(before, after, arguments.path, context=1)

    return await asyncio.to_thread(edit)


def edited(text: str, arguments: EditFile) -> str:
    """Return a text with the edit made.

    Raises:
        ToolError: the old text is not there, or more than once without `replace_all`.
    """
    if not arguments.old_string:
        raise ToolError("old_string is empty; use write_file to write a whole file")
    if arguments.old_string == arguments.new_string:
        raise ToolError("old_string and new_string are the same")
    count = text.count(arguments.old_string)
    if count == 0:
        raise ToolError(f"old_string is not in {arguments.path}{_nearest(text, arguments.old_string)}")
    if count > 1 and not arguments.replace_all:
        lines = [str(text.count("\n", 0, at) + 1) for at in _places(text, arguments.old_string)][:10]
        raise ToolError(
            f"old_string is in {arguments.path} {count} times (lines {', '.join(lines)}); "
            "give more of the text around it, or set replace_all"
        )
    return text.replace(arguments.old_string, arguments.new_string)


def diff(before: str, after: str, path: str, *, context: int = 3) -> str:
    """Return a unified diff, bounded."""
    lines = list(
        difflib.unified_diff(before.splitlines(), after.splitlines(), f"a/{path}", f"b/{path}", "", "", context, "")
    )
    rest = len(lines) - _PREVIEW_LINES
    return "\n".join(lines[:_PREVIEW_LINES]) + (f"\n... {rest} more lines" if rest > 0 else "")


def write_preview(workspace: Path, arguments: WriteFile) -> str:
    """Show what writing a file changes."""
    path = resolve(workspace, arguments.path)
    before = ""
    if path is not None and path.is_file():
        with contextlib.suppress(ToolError):
            before = _text(path, arguments.path)
    return diff(before, arguments.content, arguments.path)


def edit_preview(workspace: Path, arguments: EditFile) -> str:
    """Show what an edit changes, or why it will fail."""
    path = resolve(workspace, arguments.path)
    try:
        if path is None:
            raise ToolError(f"{arguments.path} is outside the workspace")
        before = _text(path, arguments.path)
        return diff(before, edited(before, arguments), arguments.path)
    except ToolError as exc:
        return f"(this will fail: {exc})"


def _target(workspace: Path, path: str) -> Path:
    """Return where to write, looked up again just before: a link may have appeared since the policy looked."""
    real = resolve(workspace, path)
    if real is None:
        raise ToolError(f"{path} is outside the workspace")
    if real.is_dir():
        raise ToolError(f"{path} is a folder")
    return real


def _text(path: Path, shown: str) -> str:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ToolError(f"{shown} is larger than {MAX_FILE_BYTES} bytes")
        return path.read_bytes().decode("utf-8")
    except OSError as exc:
        raise ToolError(f"{shown}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise ToolError(f"{shown} is not a UTF-8 text file") from exc


def _replace(path: Path, text: str) -> None:
    """Write a file by putting a finished one in its place; its rights stay."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o644
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.encode("utf-8"))
            os.chmod(name, mode)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as exc:
        raise ToolError(f"{path.name}: {exc.strerror}") from exc


def _places(text: str, part: str) -> list[int]:
    places: list[int] = []
    start = text.find(part)
    while start >= 0:
        places.append(start)
        start = text.find(part, start + 1)
    return places


def _nearest(text: str, wanted: str) -> str:
    """Return the lines most like the first line of a text that was not found."""
    lines = text.splitlines()
    first = next((line.strip() for line in wanted.splitlines() if line.strip()), "")
    close = difflib.get_close_matches(first, [line.strip() for line in lines], n=1, cutoff=0.6)
    if not close:
        return ""
    number = next(n for n, line in enumerate(lines, 1) if line.strip() == close[0])
    return f"; line {number} is like it: {lines[number - 1]!r}"
