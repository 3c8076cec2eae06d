"""Pure rendering of a unified diff for people: line numbers, signs, and the words that changed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

_HUNK = re.compile(r"@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@")
_WORD = re.compile(r"\w+|\s+|[^\w\s]")
_MAX_COMPARED = 400  # characters of a line whose words are compared
_SIMILAR = 0.4  # lines less alike than this are two lines, not one that changed

Kind = Literal["added", "removed", "kept", "heading"]


class Part(NamedTuple):
    """A piece of a line."""

    text: str
    changed: bool
    """Whether it is one of the words in which a changed line differs."""


class DiffLine(NamedTuple):
    """One line of a diff as it is shown."""

    kind: Kind
    number: int
    """Line number: in the new file, for a removed line in the old one; 0: none."""
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """The line without its number."""
        return "".join(part.text for part in self.parts)


def is_diff(text: str) -> bool:
    """Return whether a text holds a unified diff."""
    return any(_HUNK.match(line) for line in text.split("\n"))


def diff_lines(text: str) -> list[DiffLine]:
    """Return the lines of a text with diffs in it; what is no diff becomes headings. Nothing is left out."""
    found: list[DiffLine] = []
    removed: list[tuple[int, str]] = []
    added: list[tuple[int, str]] = []
    old = new = 0
    inside = False
    for line in text.split("\n"):
        if inside and line.startswith("-") and not (line.startswith("--- ") and not old):
            if added:
                found += _flush(removed, added)
            removed.append((old, line[1:]))
            old += 1
            continue
        if inside and line.startswith("+"):
            added.append((new, line[1:]))
            new += 1
            continue
        found += _flush(removed, added)
        if hunk := _HUNK.match(line):
            old, new, inside = int(hunk[1]), int(hunk[2]), True
            found.append(DiffLine("heading", 0, (Part(line, changed=False),)))
        elif inside and line.startswith(" "):
            found.append(DiffLine("kept", new, (Part(line[1:], changed=False),)))
            old, new = old + 1, new + 1
        else:
            inside = inside and line.startswith("\\")  # "\ No newline at end of file"
            found.append(DiffLine("heading", 0, (Part(line, changed=False),)))
    return found + list(_flush(removed, added))


def _flush(removed: list[tuple[int, str]], added: list[tuple[int, str]]) -> Iterator[DiffLine]:
    """Yield the lines of one change, and forget them; lines that stand for each other are compared word by word."""
    pairs = [_words(before, after) for (_, before), (_, after) in zip(removed, added, strict=False)]
    for index, (number, line) in enumerate(removed):
        yield DiffLine("removed", number, pairs[index][0] if index < len(pairs) else (Part(line, changed=False),))
    for index, (number, line) in enumerate(added):
        yield DiffLine("added", number, pairs[index][1] if index < len(pairs) else (Part(line, changed=False),))
    removed.clear()
    added.clear()


def _words(before: str, after: str) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    """Return two lines with the words marked in which they differ; very different ones have no marks."""
    old, new = _WORD.findall(before[:_MAX_COMPARED]), _WORD.findall(after[:_MAX_COMPARED])
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    if max(len(before), len(after)) > _MAX_COMPARED or matcher.ratio() < _SIMILAR:
        return (Part(before, changed=False),), (Part(after, changed=False),)
    left: list[Part] = []
    right: list[Part] = []
    for tag, begin, end, other_begin, other_end in matcher.get_opcodes():
        if text := "".join(old[begin:end]):
            left.append(Part(text, changed=tag != "equal"))
        if text := "".join(new[other_begin:other_end]):
            right.append(Part(text, changed=tag != "equal"))
    return tuple(left), tuple(right)
