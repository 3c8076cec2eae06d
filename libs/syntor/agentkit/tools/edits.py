"""Writes and edits files. A file keeps its encoding, line ends, mode and links, and is never left half written."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from syntor.agentkit.domain import text_format
from syntor.agentkit.domain.path_names import quoted, unquoted
from syntor.agentkit.domain.text_edit import diff, spans
from syntor.agentkit.domain.text_format import Text, TextFormat
from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.tools.tool import ToolRun
from syntor.agentkit.tools.workspace_files import read_whole, regular_status, replace_file, status

MAX_FILE_BYTES = 5 * 1024 * 1024


class WriteFile(msgspec.Struct, frozen=True):
    """Arguments of write_file."""

    path: Annotated[str, Meta(description="File, relative to the workspace")]
    content: Annotated[str, Meta(description="Its whole new content")]


class Replacement(msgspec.Struct, frozen=True):
    """One replacement of edit_file."""

    old_string: Annotated[str, Meta(description="Text to replace")]
    new_string: Annotated[str, Meta(description="Text to put in its place")]
    replace_all: Annotated[bool, Meta(description="Replace every occurrence")] = False


class EditFile(msgspec.Struct, frozen=True):
    """Arguments of edit_file."""

    path: Annotated[str, Meta(description="File, relative to the workspace")]
    old_string: Annotated[str, Meta(description="Text to replace, exactly as in the file, with enough lines around it")]
    new_string: Annotated[str, Meta(description="Text to put in its place")]
    replace_all: Annotated[bool, Meta(description="Replace every occurrence")] = False
    edits: Annotated[
        list[Replacement],
        Meta(max_length=100, description="More replacements, made in order after the first; all are made or none"),
    ] = []


class FileChange(msgspec.Struct, frozen=True):
    """A file as it is and as it is to be."""

    path: str
    """As the operating system has it."""
    seen: os.stat_result | None
    """Status of the file it was made from; None: there is none."""
    before: Text | None
    """None: there is no file, or it is not text."""
    after: Text
    data: bytes
    """What is to be written."""

    def preview(self) -> str:
        """Return what changes, for people: a diff, and what a diff does not show."""
        before = self.before.lines if self.before is not None else ""
        shown = diff(before, self.after.lines, quoted(self.path))
        return "\n".join(filter(None, [shown, *self._notes()])) or "(nothing changes)"

    def write(self, workspace: Path) -> None:
        """Write it.

        Raises:
            ToolError: the file changed since it was read, or cannot be written.
        """
        replace_file(workspace, self.path, self.data, self.seen)

    def _notes(self) -> list[str]:
        if self.seen is None:
            return [f"(new file, {self.after.form.describe()})"]
        if self.before is None:
            return [f"(replaces a file of {self.seen.st_size} bytes that is not text)"]
        notes: list[str] = []
        old, new = self.before.form.describe(), self.after.form.describe()
        if old != new and self.before.lines and self.after.lines:
            notes.append(f"(the file changes from {old} to {new})")
        ended, ends = self.before.lines.endswith("\n"), self.after.lines.endswith("\n")
        if ended != ends and self.before.lines and self.after.lines:
            notes.append(f"(the newline at the end of the file is {'added' if ends else 'removed'})")
        if not self.after.lines and self.before.lines:
            notes.append("(the file becomes empty)")
        if self.seen.st_nlink > 1:
            notes.append(f"(the file has {self.seen.st_nlink} names, hard links; all of them change)")
        return notes


async def write_file(run: ToolRun, arguments: WriteFile) -> str:
    """Write a file; return its new length in lines."""

    def write() -> str:
        change = _written(run.workspace, arguments)
        change.write(run.workspace)
        form = "" if change.after.form == TextFormat() else f" ({change.after.form.describe()})"
        return f"wrote {arguments.path}, {len(arguments.content.splitlines())} lines{form}"

    return await asyncio.to_thread(write)


async def edit_file(run: ToolRun, arguments: EditFile) -> str:
    """Replace text in a file; return the lines around it as they are now."""

    def edit() -> str:
        change = _edited(run.workspace, arguments)
        change.write(run.workspace)
        assert change.before is not None
        return f"edited {arguments.path}:\n" + diff(change.before.lines, change.after.lines, arguments.path, context=1)

    return await asyncio.to_thread(edit)


def write_preview(workspace: Path, arguments: WriteFile) -> str:
    """Show what writing a file changes.

    Raises:
        ToolError: it cannot be written.
    """
    return _written(workspace, arguments).preview()


def edit_preview(workspace: Path, arguments: EditFile) -> str:
    """Show what an edit changes.

    Raises:
        ToolError: the edit does not match the file.
    """
    return _edited(workspace, arguments).preview()


def read_text(workspace: Path, path: str) -> tuple[Text, os.stat_result]:
    """Return the text of a file and its status.

    Raises:
        ToolError: there is no such text file, or it is too large to edit.
    """
    data, seen = read_whole(workspace, path, MAX_FILE_BYTES)
    try:
        return text_format.decode(data), seen
    except ToolError as exc:
        raise ToolError(f"{quoted(path)} {exc}") from exc


def changed(path: str, before: Text, seen: os.stat_result | None, raw: str) -> FileChange:
    """Return the change of a text file to a raw text in the same encoding.

    Raises:
        ToolError: its encoding has no such character.
    """
    form = before.form
    return FileChange(path, seen, before, text_format.as_text(raw, form), text_format.encode(raw, form))


def created(path: str, content: str) -> FileChange:
    """Return the change that makes a file."""
    raw, form = text_format.as_file(content, None)
    return FileChange(path, None, None, text_format.as_text(raw, form), text_format.encode(raw, form))


def _written(workspace: Path, arguments: WriteFile) -> FileChange:
    path = unquoted(arguments.path)
    if status(workspace, path) is None:
        return created(path, arguments.content)
    try:
        before, seen = read_text(workspace, path)
    except ToolError:
        seen = regular_status(workspace, path)  # too large, or not text: it is replaced
        raw, form = text_format.as_file(arguments.content, None)
        return FileChange(path, seen, None, text_format.as_text(raw, form), text_format.encode(raw, form))
    raw, form = text_format.as_file(arguments.content, before.form)
    return FileChange(path, seen, before, text_format.as_text(raw, form), text_format.encode(raw, form))


def _edited(workspace: Path, arguments: EditFile) -> FileChange:
    path = unquoted(arguments.path)
    before, seen = read_text(workspace, path)
    text = before
    first = Replacement(arguments.old_string, arguments.new_string, arguments.replace_all)
    for number, each in enumerate((first, *arguments.edits), 1):
        try:
            found = spans(
                text.lines, each.old_string, each.new_string, path=arguments.path, replace_all=each.replace_all
            )
        except ToolError as exc:
            if not arguments.edits:
                raise
            raise ToolError(f"replacement {number}, nothing was changed: {exc}") from exc
        text = Text(text.replaced(found), text.form)
    return changed(path, before, seen, text.raw)
