"""The tool that changes several files by one patch: apply_patch. All of its changes are made, or none."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from syntor.agentkit.domain import patch as patches
from syntor.agentkit.domain.patch import FilePatch
from syntor.agentkit.domain.path_names import quoted, unquoted
from syntor.agentkit.domain.text_edit import diff
from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.tools.edits import FileChange, changed, created, read_text
from syntor.agentkit.tools.tool import Tool, ToolRun, bounded
from syntor.agentkit.tools.workspace_files import remove_file, replace_file, status


class ApplyPatch(msgspec.Struct, frozen=True):
    """Arguments of apply_patch."""

    patch: Annotated[
        str,
        Meta(
            description="*** Begin Patch / *** Update File: PATH (or Add File, Delete File) / @@ FUNCTION / lines with "
            "' ', '-' or '+' in front / *** End Patch; or a unified diff"
        ),
    ]


class _Step(msgspec.Struct, frozen=True):
    """One file's part of a patch, fitted to the file."""

    change: FileChange
    deletes: str = ""
    """Path that is removed; empty: none."""

    def preview(self) -> str:
        if self.deletes == self.change.path:
            return f"delete {quoted(self.deletes)}\n{diff(self.change.after.lines, '', quoted(self.deletes))}"
        moved = f"move {quoted(self.deletes)} to {quoted(self.change.path)}\n" if self.deletes else ""
        return moved + self.change.preview()

    def make(self, workspace: Path) -> None:
        if self.deletes != self.change.path:
            self.change.write(workspace)
        if self.deletes:
            remove_file(workspace, self.deletes)

    def undo(self, workspace: Path) -> None:
        """Bring back what was there before, as far as that is possible."""
        with contextlib.suppress(ToolError):
            before, path = self.change.before, self.change.path
            if self.deletes and self.deletes != path:
                remove_file(workspace, path)
                path = self.deletes
            if before is None:
                remove_file(workspace, path)
            else:
                seen = status(workspace, path)
                replace_file(workspace, path, changed(path, before, self.change.seen, before.raw).data, seen)


async def apply_patch(run: ToolRun, arguments: ApplyPatch) -> str:
    """Apply a patch; return what changed in each file."""

    def apply() -> str:
        steps = _steps(run.workspace, arguments)
        made: list[_Step] = []
        try:
            for step in steps:
                made.append(step)
                step.make(run.workspace)
        except ToolError as exc:
            for step in reversed(made):
                step.undo(run.workspace)
            raise ToolError(f"nothing was changed: {exc}") from exc
        return bounded("\n".join(step.preview() for step in steps))

    return await asyncio.to_thread(apply)


def _steps(workspace: Path, arguments: ApplyPatch) -> list[_Step]:
    return [_step(workspace, each) for each in patches.parse(arguments.patch)]


def _step(workspace: Path, each: FilePatch) -> _Step:
    path, move_to = unquoted(each.path), unquoted(each.move_to)
    new = move_to or path
    if (each.kind == "add" or move_to) and status(workspace, new) is not None:
        raise ToolError(f"{quoted(new)} is there already; use *** Update File")
    if each.kind == "add":
        return _Step(created(path, each.content))
    before, seen = read_text(workspace, path)
    if each.kind == "delete":
        return _Step(changed(path, before, seen, before.raw), deletes=path)
    change = changed(path, before, seen, before.replaced(patches.fitted(before.lines, each)))
    if not move_to:
        return _Step(change)
    return _Step(msgspec.structs.replace(change, path=move_to, seen=None), deletes=path)


def _paths(arguments: ApplyPatch) -> list[str]:
    """Return the files a patch names; one that cannot be read names none, and is refused when it runs."""
    try:
        return [path for each in patches.parse(arguments.patch) for path in each.paths()]
    except ToolError:
        return []


PATCH_TOOLS = (
    Tool(
        name="apply_patch",
        description="Change, add, move and delete several text files by one patch; all of it is applied or nothing.",
        arguments=ApplyPatch,
        run=apply_patch,
        paths=_paths,
        effect="write",
        repeatable=False,
        preview=lambda workspace, arguments: "\n".join(step.preview() for step in _steps(workspace, arguments)),
        subject=lambda arguments: " ".join(_paths(arguments)),
    ),
)
