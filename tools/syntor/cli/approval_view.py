"""What a person sees of an approval: the whole of it, or its beginning and end with the size of what is left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from syntor.cli.diff_view import DiffLine, diff_lines, is_diff
from syntor.cli.terminal_style import ADDED, REMOVED
from syntor.contracts.http.v1 import Approval
from syntor.contracts.visible_text import visible

if TYPE_CHECKING:
    from rich.text import Text

_SIGNS = {"added": "+", "removed": "-", "kept": " ", "heading": ""}
_STYLES = {"added": ADDED, "removed": REMOVED, "kept": "", "heading": "bold"}
RESERVED_LINES = 10  # of the screen, for title, reason and choices


class Shown(NamedTuple):
    """An approval as it goes to the screen."""

    lines: list[Text]
    whole: bool
    """False: the middle is left out, which its lines say."""


def heading(approval: Approval) -> list[str]:
    """Return what is approved and why, without what the preview says again."""
    name, _, subject = approval.title.partition(" ")
    preview = approval.preview
    title = name if preview and (subject.rstrip("…. ") in preview or is_diff(preview)) else approval.title
    lines = [f"Approval needed: {visible(title)}"]
    return [*lines, f"({visible(approval.reason)})"] if approval.reason else lines


def preview_lines(approval: Approval) -> list[Text]:
    """Return the whole preview, a line each, nothing in it hidden; diffs with line numbers and changed words."""
    from rich.text import Text

    preview = approval.preview or approval.title
    if not is_diff(preview):
        return [Text(f"  {visible(line)}") for line in preview.split("\n")]
    lines = diff_lines(preview)
    width = len(str(max((line.number for line in lines), default=0)))
    return [_diff_line(line, width) for line in lines]


def _diff_line(line: DiffLine, width: int) -> Text:
    from rich.text import Text

    style = _STYLES[line.kind]
    if line.kind == "heading":
        return Text(f"  {visible(line.text)}", style=style)
    shown = Text(f"  {line.number:>{width}} {_SIGNS[line.kind]} ", style=style)
    for part in line.parts:
        shown.append(visible(part.text), style=f"{style} bold underline" if part.changed else style)
    return shown


def fitted(lines: Sequence[Text], columns: int, rows: int) -> Shown:
    """Return the lines if they fit on the screen; else its first and last rows, with what is between counted."""
    from rich.text import Text

    folded = [row for line in lines for row in _folded(line, columns)]
    room = max(rows - RESERVED_LINES, 6)
    if len(folded) <= room:
        return Shown(folded, whole=True)
    left = folded[room // 2 : len(folded) - room // 2]
    size = sum(len(row.plain) for row in left)
    mark = f"  ... {len(left)} rows, {size} characters are not shown here; v shows all of it ..."
    shown = [*folded[: room // 2], Text(mark, style="bold reverse"), *folded[len(folded) - room // 2 :]]
    return Shown(shown, whole=False)


def _folded(line: Text, columns: int) -> list[Text]:
    """Return the rows of the screen a line takes."""
    from rich.cells import chop_cells

    line.expand_tabs(8)
    ends: list[int] = []
    for piece in chop_cells(line.plain, max(columns, 2)):
        ends.append((ends[-1] if ends else 0) + len(piece))
    return list(line.divide(ends[:-1])) if len(ends) > 1 else [line]
