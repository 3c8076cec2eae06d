"""Patches of several files: read in the form `*** Begin Patch` and as unified diffs, and fitted to the files' texts."""

from __future__ import annotations

import re
from typing import Literal

import msgspec
from unidiff.errors import UnidiffParseError
from unidiff.patch import PatchedFile, PatchSet

from syntor.agentkit.domain.text_edit import Span, closest_lines
from syntor.agentkit.domain.tool_error import ToolError

_BEGIN, _END = "*** Begin Patch", "*** End Patch"
_FILE = re.compile(r"\*\*\* (Add|Update|Delete) File: (.+)\Z")
_MOVE, _LAST = "*** Move to: ", "*** End of File"


class Hunk(msgspec.Struct, frozen=True):
    """Lines that are replaced by others."""

    old: list[str]
    """Lines to find, context included."""
    new: list[str]
    anchor: str = ""
    """A line somewhere before them, such as a function's head; empty: none."""
    at_end: bool = False
    """Whether they are the last lines of the file."""
    near: int = -1
    """Index of the line where they are expected; -1: unknown."""


class FilePatch(msgspec.Struct, frozen=True):
    """What a patch does to one file."""

    kind: Literal["add", "update", "delete"]
    path: str
    move_to: str = ""
    """New name; empty: it stays."""
    hunks: list[Hunk] = []
    content: str = ""
    """Of a file that is added."""

    def paths(self) -> list[str]:
        """Return the paths it touches."""
        return [self.path, self.move_to] if self.move_to else [self.path]


def parse(patch: str) -> list[FilePatch]:
    """Return what a patch does, file by file.

    Raises:
        ToolError: it is in neither form; the text says what is expected.
    """
    text = patch.replace("\r\n", "\n").strip("\n")
    found = _begin_patch(text.split("\n")) if _BEGIN in text else _unified(text)
    if not found:
        raise ToolError(
            f"the patch changes no file: start it with `{_BEGIN}` and `*** Update File: PATH`, or `--- a/PATH`"
        )
    named = [path for each in found for path in each.paths()]
    for path in named:
        if named.count(path) > 1:
            raise ToolError(f"the patch names {path} twice; put all its changes into one part")
    return found


def fitted(text: str, each: FilePatch) -> list[Span]:
    """Return the parts of a text that hunks replace; blanks at the ends of lines may differ from the patch.

    Args:
        text: of the file; its lines end in a line feed.

    Raises:
        ToolError: a hunk is not found; with the nearest lines.
    """
    lines = text.split("\n")
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    spans: list[Span] = []
    cursor = 0
    for number, hunk in enumerate(each.hunks, 1):
        index = _found(lines, hunk, cursor)
        if index is None:
            near = closest_lines(text, "\n".join(hunk.old or [hunk.anchor]))
            raise ToolError(f"part {number} of {each.path} does not match the file{near}")
        end = index + len(hunk.old)
        new = "".join(f"{line}\n" for line in hunk.new)
        begin, stop = starts[index], min(starts[end], len(text))
        if stop == len(text) and not text.endswith("\n") and end > index:
            new = new.removesuffix("\n")
        spans.append((begin, stop, new))
        cursor = end
    return spans


def _found(lines: list[str], hunk: Hunk, cursor: int) -> int | None:
    """Return the index of a hunk's lines at or after a line; the nearest to where they are expected."""
    last = len(lines) - 1 if lines[-1] == "" else len(lines)
    if hunk.anchor:
        anchored = next((n for n in range(cursor, last) if lines[n].strip() == hunk.anchor.strip()), None)
        if anchored is None:
            return None
        cursor = anchored + 1
    if not hunk.old:
        return cursor if hunk.anchor else min(hunk.near, last) if hunk.near >= 0 else last
    for same in (str, str.rstrip, str.strip):
        wanted = [same(line) for line in hunk.old]
        have = [same(line) for line in lines[:last]]
        places = [
            n
            for n in range(cursor, last - len(wanted) + 1)
            if have[n] == wanted[0] and have[n : n + len(wanted)] == wanted
        ]
        if hunk.at_end:
            places = [n for n in places if n + len(wanted) == last]
        if places:
            return min(places, key=lambda n: abs(n - hunk.near)) if hunk.near >= 0 else places[0]
    return None


def _begin_patch(lines: list[str]) -> list[FilePatch]:
    found: list[FilePatch] = []
    index = lines.index(_BEGIN) + 1 if _BEGIN in lines else len(lines)
    while index < len(lines) and lines[index] != _END:
        match = _FILE.match(lines[index])
        if match is None:
            if lines[index].strip():
                raise ToolError(
                    f"patch, line {index + 1}: expected `*** Update File: PATH`, found {lines[index][:80]!r}"
                )
            index += 1
            continue
        stop = index + 1
        while stop < len(lines) and lines[stop] != _END and not _FILE.match(lines[stop]):
            stop += 1
        found.append(_file(match[1], match[2].strip(), lines[index + 1 : stop], index + 2))
        index = stop
    return found


def _file(kind: str, path: str, body: list[str], first: int) -> FilePatch:
    if kind == "Delete":
        return FilePatch("delete", path)
    if kind == "Add":
        wrong = next((number for number, line in enumerate(body, first) if line and not line.startswith("+")), None)
        if wrong is not None:
            raise ToolError(f"patch, line {wrong}: each line of an added file starts with '+'")
        return FilePatch("add", path, content="".join(f"{line[1:]}\n" for line in body if line))
    move_to = body.pop(0).removeprefix(_MOVE).strip() if body and body[0].startswith(_MOVE) else ""
    hunks = _hunks(body, first + bool(move_to))
    if not hunks and not move_to:
        raise ToolError(f"patch: {path} has no changes")
    return FilePatch("update", path, move_to, hunks)


def _hunks(body: list[str], first: int) -> list[Hunk]:
    hunks: list[Hunk] = []
    old: list[str] = []
    new: list[str] = []
    anchor, changes = "", False

    def close(at_end: bool = False) -> None:
        nonlocal old, new, anchor, changes
        if changes:
            hunks.append(Hunk(old, new, anchor, at_end))
        old, new, anchor, changes = [], [], "", False

    for number, line in enumerate(body, first):
        if line == _LAST:
            close(at_end=True)
        elif line.startswith("@@"):
            close()
            anchor = re.sub(r"^-\d+(,\d+)? \+\d+(,\d+)? @@", "", line[2:].strip()).strip()
        elif line.startswith("-"):
            old.append(line[1:])
            changes = True
        elif line.startswith("+"):
            new.append(line[1:])
            changes = True
        elif line.startswith(" ") or not line:
            old.append(line[1:])
            new.append(line[1:])
        else:
            raise ToolError(f"patch, line {number}: a line starts with ' ', '-', '+' or '@@', found {line[:80]!r}")
    while old and new and old[-1] == new[-1] == "" and not body[-1]:  # blank lines that only end the patch
        old.pop()
        new.pop()
        body.pop()
    close()
    return hunks


def _unified(text: str) -> list[FilePatch]:
    try:
        return [_unified_file(each) for each in PatchSet(text + "\n")]
    except UnidiffParseError as exc:
        raise ToolError(f"the patch is no unified diff: {exc}; counts in `@@ -1,3 +1,4 @@` have to be right") from exc


def _unified_file(each: PatchedFile) -> FilePatch:
    hunks: list[Hunk] = []
    for hunk in each:
        old = [line.value.rstrip("\n") for line in hunk if line.is_context or line.is_removed]
        new = [line.value.rstrip("\n") for line in hunk if line.is_context or line.is_added]
        hunks.append(Hunk(old, new, near=hunk.source_start - bool(hunk.source_length)))
    source, target = _stripped(each.source_file), _stripped(each.target_file)
    if each.source_file == "/dev/null":
        return FilePatch("add", target, content="".join(f"{line}\n" for hunk in hunks for line in hunk.new))
    if each.target_file == "/dev/null":
        return FilePatch("delete", source)
    return FilePatch("update", source, target if target != source else "", hunks)


def _stripped(path: str) -> str:
    return path[2:] if path.startswith(("a/", "b/")) else path
