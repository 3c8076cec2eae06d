"""Finds the parts of a text that edits replace, and shows differences."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from syntor.agentkit.domain.tool_error import ToolError

_PREVIEW_LINES = 80
_MAX_COMPARED = 4_000_000  # product of the two numbers of lines: about a second
_MAX_SEARCHED = 20_000  # lines looked at for one that is similar
_COMPARED_CHARACTERS = 200  # of a line, when it is compared with another
Span = tuple[int, int, str]
"""Start and end in a text, and what replaces it."""


def spans(text: str, old: str, new: str, *, path: str, replace_all: bool) -> list[Span]:
    """Return the parts of a text where `old` is, with `new`.

    Args:
        text: its lines end in a line feed; so do those of `old`, whatever it was written with.
        path: name of the file in error texts.

    Raises:
        ToolError: `old` is not in the text, or more than once without `replace_all`.
    """
    old, new = old.replace("\r\n", "\n"), new.replace("\r\n", "\n")
    if not old:
        raise ToolError("old_string is empty; use write_file to write a whole file")
    if old == new:
        raise ToolError("old_string and new_string are the same")
    starts = _occurrences(text, old)
    if not starts:
        raise ToolError(f"old_string is not in {path}{closest_lines(text, old)}")
    if len(starts) > 1 and not replace_all:
        lines = [str(text.count("\n", 0, start) + 1) for start in starts[:10]]
        raise ToolError(
            f"old_string is in {path} {len(starts)} times (lines {', '.join(lines)}); "
            "give more of the text around it, or set replace_all"
        )
    return [(start, start + len(old), new) for start in starts]


def applied(text: str, replacements: Sequence[Span]) -> str:
    """Return a text with parts replaced; they are in order and do not overlap."""
    parts: list[str] = []
    at = 0
    for start, end, new in replacements:
        parts += (text[at:start], new)
        at = end
    return "".join([*parts, text[at:]])


def diff(before: str, after: str, path: str, *, context: int = 3) -> str:
    """Return a unified diff of at most 80 lines; what is too large to compare is shown as replaced."""
    old, new = before.splitlines(), after.splitlines()
    start = next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    most = min(len(old), len(new)) - start
    pairs = zip(reversed(old), reversed(new), strict=False)
    end = min(most, next((n for n, (a, b) in enumerate(pairs) if a != b), most))
    changed_old, changed_new = len(old) - start - end, len(new) - start - end
    if changed_old * changed_new > _MAX_COMPARED:
        return (
            f"--- a/{path}\n+++ b/{path}\n(lines {start + 1} to {start + changed_old} are replaced by {changed_new} "
            "others; too many to show)"
        )
    first = max(0, start - context)
    old, new = old[first : len(old) - max(0, end - context)], new[first : len(new) - max(0, end - context)]
    lines = [
        _renumbered(line, first) if line.startswith("@@") else line
        for line in difflib.unified_diff(old, new, f"a/{path}", f"b/{path}", "", "", context, "")
    ]
    rest = len(lines) - _PREVIEW_LINES
    return "\n".join(lines[:_PREVIEW_LINES]) + (f"\n... {rest} more lines" if rest > 0 else "")


def closest_lines(text: str, wanted: str) -> str:
    """Return a hint that shows the lines most similar to `wanted`, with their numbers; empty where none are."""
    lines, parts = text.split("\n"), wanted.strip("\n").split("\n")
    anchor = next((n for n, line in enumerate(parts) if line.strip()), None)
    if anchor is None:
        return ""
    first = parts[anchor].strip()[:_COMPARED_CHARACTERS]
    by_text: dict[str, int] = {}
    for number, line in enumerate(lines[:_MAX_SEARCHED]):
        by_text.setdefault(line.strip()[:_COMPARED_CHARACTERS], number)
    close = difflib.get_close_matches(first, by_text, n=1, cutoff=0.6)
    if not close:
        return "; read the file again, no line is similar"
    start = max(0, by_text[close[0]] - anchor)
    shown = lines[start : start + min(len(parts), 12)]
    return "; the nearest is:\n" + "\n".join(
        f"{number:5} {line[: 2 * _COMPARED_CHARACTERS]}" for number, line in enumerate(shown, start + 1)
    )


def _occurrences(text: str, part: str) -> list[int]:
    starts: list[int] = []
    start = text.find(part)
    while start >= 0:
        starts.append(start)
        start = text.find(part, start + len(part))
    return starts


def _renumbered(header: str, skipped: int) -> str:
    """Return the header of a hunk whose texts had lines cut off before it."""
    if not skipped:
        return header
    words = header.split(" ")
    for index in (1, 2):
        sign, (number, *count) = words[index][0], words[index][1:].split(",")
        words[index] = sign + ",".join([str(int(number) + skipped), *count])
    return " ".join(words)
