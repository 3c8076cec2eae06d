"""Jupyter notebooks (format 4) as cells: shown to a model, and edited one cell at a time. Pure.

Everything an edit does not concern is kept: metadata, outputs of other cells, unknown keys, indentation.
"""

from __future__ import annotations

import json
import re
from typing import Any, Literal, cast

from syntor.agentkit.domain.tool_error import ToolError

CellType = Literal["code", "markdown", "raw"]
_MAX_OUTPUT_CHARACTERS = 2000  # shown of one cell's output
_INDENT = re.compile(r"\A\{\r?\n( +|\t)")
Notebook = dict[str, Any]


def read(text: str) -> Notebook:
    """Return a notebook.

    Raises:
        ToolError: it is no notebook of format 4.
    """
    try:
        notebook: Any = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise ToolError(f"is not a notebook: {exc}") from exc
    cells = cast("Notebook", notebook).get("cells") if isinstance(notebook, dict) else None
    valid = isinstance(cells, list) and all(isinstance(cell, dict) for cell in cast("list[object]", cells))
    if not valid or cast("Notebook", notebook).get("nbformat") != 4:
        raise ToolError("is not a notebook of format 4; convert it with `jupyter nbconvert --to notebook`")
    return cast("Notebook", notebook)


def written(notebook: Notebook, before: str) -> str:
    """Return the text of a notebook, indented as it was."""
    match = _INDENT.match(before)
    indent: str | int | None = match[1] if match else (None if "\n" not in before.strip() else 1)
    text = json.dumps(notebook, indent=indent, ensure_ascii=False)
    return text + ("\n" if before.endswith("\n") else "")


def shown(notebook: Notebook) -> str:
    """Return the cells with their numbers and outputs, as text."""
    parts: list[str] = []
    for number, cell in enumerate(notebook["cells"]):
        parts.append(f"[{number}] {cell.get('cell_type', '?')}\n{_text(cell.get('source', ''))}")
        if output := "\n".join(filter(None, (_output(each) for each in cell.get("outputs", [])))):
            rest = len(output) - _MAX_OUTPUT_CHARACTERS
            cut = f"\n... {rest} characters were left out" if rest > 0 else ""
            parts.append(f"[{number}] output\n{output[:_MAX_OUTPUT_CHARACTERS]}{cut}")
    return "\n\n".join(parts) or "(no cells)"


def replace(notebook: Notebook, number: int, source: str, cell_type: CellType | None) -> None:
    """Replace a cell's source; outputs of a code cell go, as they are no longer its own.

    Raises:
        ToolError: there is no such cell.
    """
    cell = _cell(notebook, number)
    kind = cell_type or cell.get("cell_type", "code")
    cell |= {"cell_type": kind, "source": _lines(source)}
    if kind == "code":
        cell |= {"outputs": [], "execution_count": None}
    else:
        cell.pop("outputs", None)
        cell.pop("execution_count", None)


def insert(notebook: Notebook, number: int, source: str, cell_type: CellType) -> None:
    """Insert a cell so that it has this number.

    Raises:
        ToolError: there is no such place.
    """
    cells = notebook["cells"]
    if not 0 <= number <= len(cells):
        raise ToolError(f"cell {number}: there are cells 0 to {len(cells) - 1}; {len(cells)} appends one")
    cell: Notebook = {"cell_type": cell_type, "metadata": {}, "source": _lines(source)}
    if cell_type == "code":
        cell |= {"outputs": [], "execution_count": None}
    if notebook.get("nbformat_minor", 0) >= 5:
        taken = {each.get("id") for each in cells}
        cell["id"] = next(name for count in range(len(cells) + 1) if (name := f"cell-{number}-{count}") not in taken)
    cells.insert(number, cell)


def delete(notebook: Notebook, number: int) -> None:
    """Remove a cell.

    Raises:
        ToolError: there is no such cell.
    """
    _cell(notebook, number)
    del notebook["cells"][number]


def _cell(notebook: Notebook, number: int) -> Notebook:
    cells = notebook["cells"]
    if not 0 <= number < len(cells):
        raise ToolError(f"cell {number}: there are cells 0 to {len(cells) - 1}" if cells else "there are no cells")
    return cast("Notebook", cells[number])


def _lines(source: str) -> list[str]:
    return source.splitlines(keepends=True)


def _text(source: Any) -> str:
    return "".join(map(str, cast("list[object]", source))) if isinstance(source, list) else str(source)


def _output(output: Any) -> str:
    """Return an output as text; pictures and the like as their kinds."""
    if not isinstance(output, dict):
        return ""
    each = cast("Notebook", output)
    if "text" in each:
        return _text(each["text"]).rstrip()
    if each.get("output_type") == "error":
        return f"{each.get('ename', '')}: {each.get('evalue', '')}"
    data = cast("Notebook", each.get("data") or {})
    return _text(data["text/plain"]).rstrip() if "text/plain" in data else "".join(f"({kind})" for kind in data)
