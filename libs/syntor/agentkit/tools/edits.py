"""Writes and edits files. A file is replaced atomically, never left half written."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import tempfile
from pathlib import Path

import msgspec

from syntor.agentkit.domain.text_edit import diff, replace_text
from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.tools.paths import inside, resolve
from syntor.agentkit.tools.tool import ToolRun

MAX_FILE_BYTES = 5 * 1024 * 1024


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
    """Write a file; return its new length in lines."""

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
        after = _replaced(before, arguments)
        _replace(path, after)
        return f"edited {arguments.path}:\n" + diff(before, after, arguments.path, context=1)

    return await asyncio.to_thread(edit)


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
    try:
        before = _text(inside(workspace, arguments.path), arguments.path)
        return diff(before, _replaced(before, arguments), arguments.path)
    except ToolError as exc:
        return f"(this will fail: {exc})"


def _target(workspace: Path, path: str) -> Path:
    """Return the file to write."""
    real = inside(workspace, path)
    if real.is_dir():
        raise ToolError(f"{path} is a folder")
    return real


def _replaced(text: str, arguments: EditFile) -> str:
    return replace_text(
        text, arguments.old_string, arguments.new_string, path=arguments.path, replace_all=arguments.replace_all
    )


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
    """Replace a file by renaming a complete one over it; its mode is kept."""
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
