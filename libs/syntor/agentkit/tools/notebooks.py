"""Tools for Jupyter notebooks: read_notebook and edit_notebook, by cell."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from syntor.agentkit.domain import notebook
from syntor.agentkit.domain.path_names import quoted, unquoted
from syntor.agentkit.domain.text_edit import diff
from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.tools.edits import FileChange, changed, read_text
from syntor.agentkit.tools.tool import Tool, ToolRun, bounded


class ReadNotebook(msgspec.Struct, frozen=True):
    """Arguments of read_notebook."""

    path: Annotated[str, Meta(description="Notebook (.ipynb), relative to the workspace")]


class EditNotebook(msgspec.Struct, frozen=True):
    """Arguments of edit_notebook."""

    path: Annotated[str, Meta(description="Notebook (.ipynb), relative to the workspace")]
    cell: Annotated[int, Meta(ge=0, description="Number of the cell, from 0, as read_notebook shows it")]
    source: Annotated[str, Meta(description="New source of the cell")] = ""
    action: Annotated[
        Literal["replace", "insert", "delete"], Meta(description="insert puts a new cell before this number")
    ] = "replace"
    cell_type: Annotated[
        Literal["code", "markdown", "raw"] | None, Meta(description="Kind of the cell; null: as it is, else code")
    ] = None


async def read_notebook(run: ToolRun, arguments: ReadNotebook) -> str:
    """Return the cells of a notebook with their outputs."""

    def read() -> str:
        path = unquoted(arguments.path)
        text, _ = read_text(run.workspace, path)
        return bounded(notebook.shown(_parsed(text.lines, path)))

    return await asyncio.to_thread(read)


async def edit_notebook(run: ToolRun, arguments: EditNotebook) -> str:
    """Change one cell of a notebook; return what changed."""

    def edit() -> str:
        change, shown = _edited(run.workspace, arguments)
        change.write(run.workspace)
        return f"edited {arguments.path}:\n{shown}"

    return await asyncio.to_thread(edit)


def _parsed(text: str, path: str) -> notebook.Notebook:
    try:
        return notebook.read(text)
    except ToolError as exc:
        raise ToolError(f"{quoted(path)} {exc}") from exc


def _edited(workspace: Path, arguments: EditNotebook) -> tuple[FileChange, str]:
    """Return the change, and the difference of the cells."""
    path = unquoted(arguments.path)
    before, seen = read_text(workspace, path)
    cells = _parsed(before.lines, path)
    shown = notebook.shown(cells)
    match arguments.action:
        case "replace":
            notebook.replace(cells, arguments.cell, arguments.source, arguments.cell_type)
        case "insert":
            notebook.insert(cells, arguments.cell, arguments.source, arguments.cell_type or "code")
        case "delete":
            notebook.delete(cells, arguments.cell)
    raw = before.replaced([(0, len(before.lines), notebook.written(cells, before.lines))])
    return changed(path, before, seen, raw), diff(shown, notebook.shown(cells), arguments.path)


NOTEBOOK_TOOLS = (
    Tool(
        name="read_notebook",
        description="Read a Jupyter notebook as numbered cells with their outputs.",
        arguments=ReadNotebook,
        run=read_notebook,
        paths=lambda given: [given.path],
        effect="read",
        repeatable=True,
        subject=lambda given: given.path,
    ),
    Tool(
        name="edit_notebook",
        description="Replace, insert or delete one cell of a Jupyter notebook.",
        arguments=EditNotebook,
        run=edit_notebook,
        paths=lambda given: [given.path],
        effect="write",
        repeatable=False,
        preview=lambda workspace, given: _edited(workspace, given)[1],
        subject=lambda given: given.path,
    ),
)
