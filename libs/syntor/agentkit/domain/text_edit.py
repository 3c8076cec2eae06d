"""Replaces text in a file's content, and shows the difference."""

from __future__ import annotations

import difflib

from syntor.agentkit.domain.tool_error import ToolError

_PREVIEW_LINES = 80


def replace_text(text: str, old: str, new: str, *, path: str, replace_all: bool) -> str:
    """Return a text with `old` replaced by `new`.

    Args:
        path: name of the file in error texts.

    Raises:
        ToolError: `old` is not in the text, or more than once without `replace_all`.
    """
    if not old:
        raise ToolError("old_string is empty; use write_file to write a whole file")
    if old == new:
        raise ToolError("old_string and new_string are the same")
    count = text.count(old)
    if count == 0:
        raise ToolError(f"old_string is not in {path}{_closest_line(text, old)}")
    if count > 1 and not replace_all:
        lines = [str(text.count("\n", 0, start) + 1) for start in _occurrences(text, old)][:10]
        raise ToolError(
            f"old_string is in {path} {count} times (lines {', '.join(lines)}); "
            "give more of the text around it, or set replace_all"
        )
    return text.replace(old, new)


def diff(before: str, after: str, path: str, *, context: int = 3) -> str:
    """Return a unified diff of at most 80 lines."""
    lines = list(
        difflib.unified_diff(before.splitlines(), after.splitlines(), f"a/{path}", f"b/{path}", "", "", context, "")
    )
    rest = len(lines) - _PREVIEW_LINES
    return "\n".join(lines[:_PREVIEW_LINES]) + (f"\n... {rest} more lines" if rest > 0 else "")


def _occurrences(text: str, part: str) -> list[int]:
    starts: list[int] = []
    start = text.find(part)
    while start >= 0:
        starts.append(start)
        start = text.find(part, start + 1)
    return starts


def _closest_line(text: str, wanted: str) -> str:
    """Return a hint naming the line most similar to the first line of `wanted`; empty where none is similar."""
    lines = text.splitlines()
    first = next((line.strip() for line in wanted.splitlines() if line.strip()), "")
    close = difflib.get_close_matches(first, [line.strip() for line in lines], n=1, cutoff=0.6)
    if not close:
        return ""
    number = next(n for n, line in enumerate(lines, 1) if line.strip() == close[0])
    return f"; line {number} is similar: {lines[number - 1]!r}"
