"""Pure part of checkpoints: what a kept state holds, which paths agents changed, and how an undo brings them back.

A path is relative to the workspace, as bytes with `/` between its parts: names of files need not be text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from syntor.contracts.vocabulary import CheckpointMoment, LeftOutReason

Kind = Literal["file", "link", "folder"]
ObjectId = str
"""Id of a kept content: of a file, or of a link's target."""


class Entry(msgspec.Struct, frozen=True):
    """One thing at a path."""

    kind: Kind
    mode: int = 0
    """Permission bits; 0 for a link, which has none."""
    object: ObjectId = ""
    """Its content; empty for a folder."""


Value = Entry | None
"""What is at a path; None: nothing."""
Delta = Mapping[bytes, tuple[Value, Value]]
"""What differs between two states: by path, the value before and after."""
NOT_KEPT = "-"
"""Content of what is there now and cannot be kept: a large file, or no file."""
_UNTOUCHED: frozenset[LeftOutReason] = frozenset({"unreadable", "other_file_system", "reserved", "too_deep"})
"""Reasons for which a path may be missing in a state without a change."""
BLOCKED = Entry("link", -1)
"""Stands for what cannot be reached: a part of the path above it is no folder."""
UNKNOWN = Entry("file", -2)
"""Stands for what a state does not hold although it is there, or may be."""


class LeftOut(msgspec.Struct, frozen=True):
    """Something of the workspace that a state does not hold."""

    path: bytes
    """A folder's path ends with `/`, and stands for everything below it."""
    reason: LeftOutReason
    size: int = 0
    """Bytes; 0 for a folder."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one state."""

    max_files: int = 100_000
    """Files, links and folders; a workspace with more has no checkpoints."""
    max_file_bytes: int = 32 * 1024 * 1024
    """Larger files are left out."""
    max_bytes: int = 2 * 1024**3
    """Bytes of all files; what comes after them is left out."""
    max_ignored_files: int = 2000
    """Ignored files that are kept; an ignored folder is kept whole or left out whole."""
    max_ignored_bytes: int = 64 * 1024 * 1024
    """Their bytes."""
    timeout_s: float = 60.0
    """Seconds a checkpoint may take."""


class Mark(msgspec.Struct, frozen=True):
    """A checkpoint as the log has it."""

    run: str
    task: str
    moment: CheckpointMoment
    id: str


class Segment(msgspec.Struct, frozen=True):
    """A stretch of agents' work on a workspace, between two states."""

    before: str
    after: str
    """Empty: no state was kept after it, up to now."""
    run: str = ""
    """Run that began it."""
    certain: bool = True
    """Whether only agents can have changed what changed."""


class Step(msgspec.Struct, frozen=True):
    """Consecutive states: what changed from one to the next, and whether agents did it."""

    delta: Delta
    by_agents: bool
    certain: bool = True


class Touch(msgspec.Struct):
    """A path that agents changed."""

    target: Value
    """What was there just before agents first changed it."""
    expected: Value
    """What agents left there last."""
    others: bool = False
    """Whether someone else changed it between two changes of agents."""
    changed_since: bool = False
    """Whether someone else changed it after the last change of agents so far."""


class Change(msgspec.Struct, frozen=True):
    """One path of an undo."""

    path: bytes
    now: Value
    target: Value


class Conflict(msgspec.Struct, frozen=True):
    """A path that an undo would take someone else's work from."""

    path: bytes
    why: str


class Plan(msgspec.Struct, frozen=True):
    """What an undo does."""

    changes: list[Change]
    """By path; those of conflicts are among them when the undo is forced."""
    conflicts: list[Conflict]


def segments(marks: Iterable[Mark]) -> list[Segment]:
    """Return the stretches of work that checkpoints bound, oldest first; those of tasks in parallel are one.

    Args:
        marks: in the order of the log.
    """
    found: list[Segment] = []
    run, before = "", ""
    working: set[str] = set()
    for mark in marks:
        if working and mark.run != run:  # its process ended, and nothing continued its work
            found.append(Segment(before, mark.id, run, certain=False))
            working.clear()
        run = mark.run
        if mark.moment == "before":
            before = before if working else mark.id
            working.add(mark.task)
        elif working:
            working.discard(mark.task)
            if not working:
                found.append(Segment(before, mark.id, run))
    if working:
        found.append(Segment(before, "", run, certain=False))
    return found


def known_delta(delta: Delta, before: Sequence[LeftOut], after: Sequence[LeftOut]) -> Delta:
    """Return a difference without what only seems to differ because one of the states does not hold it."""
    if not before and not after:
        return delta
    known: dict[bytes, tuple[Value, Value]] = {}
    for path, (was, now) in delta.items():
        if was is None and _reason(path, before):
            continue
        reason = _reason(path, after) if now is None else None
        if reason in _UNTOUCHED:
            continue
        known[path] = (was, UNKNOWN if reason else now)
    return known


def _reason(path: bytes, left_out: Sequence[LeftOut]) -> LeftOutReason | None:
    for each in left_out:
        if path == each.path.rstrip(b"/") or (each.path.endswith(b"/") and path.startswith(each.path)):
            return each.reason
    return None


def touches(steps: Iterable[Step]) -> dict[bytes, Touch]:
    """Return the paths that agents changed over consecutive states, oldest first."""
    found: dict[bytes, Touch] = {}
    for step in steps:
        for path, (before, after) in step.delta.items():
            touch = found.get(path)
            if step.by_agents:
                touch = found.setdefault(path, Touch(before, after))
                touch.expected = after
                touch.others |= touch.changed_since or not step.certain
                touch.changed_since = False
            elif touch is not None:
                touch.changed_since = after != touch.expected
    return {path: touch for path, touch in found.items() if touch.target != touch.expected}


def plan_undo(
    touched: Mapping[bytes, Touch], now: Mapping[bytes, Value], contested: Iterable[bytes] = (), *, force: bool = False
) -> Plan:
    """Return how to bring touched paths back.

    Args:
        now: what is at each touched path; `BLOCKED` where that is out of reach.
        contested: paths that agents of another session changed in the meantime.
        force: take conflicting paths back too.
    """
    others = frozenset(contested)
    changes: list[Change] = []
    conflicts: list[Conflict] = []
    for path, touch in sorted(touched.items()):
        value = now.get(path)
        if value == touch.target or (value == BLOCKED and touch.target is None):
            continue
        why = _conflict(touch, value, contested=path in others)
        if why:
            conflicts.append(Conflict(path, why))
        if not why or (force and value != BLOCKED and (value is None or value.object != NOT_KEPT)):
            changes.append(Change(path, value, touch.target))
    return Plan(changes, conflicts)


def _conflict(touch: Touch, value: Value, *, contested: bool) -> str:
    if value == BLOCKED:
        return "a folder above it was replaced"
    if contested:
        return "another session changed it at the same time"
    if touch.expected == UNKNOWN:
        return "agents left it too large to be kept"
    if touch.others:
        return "someone else may have changed it between changes of agents"
    if value == touch.expected:
        return ""
    if value is None:
        return "someone else deleted it since"
    if touch.expected is None:
        return "someone else created it since"
    return "someone else changed it since"


def in_order(changes: Iterable[Change]) -> tuple[list[Change], list[Change], list[Change]]:
    """Return changes in the order they can be made: removals, innermost first; folders, outermost first; then files.

    A thing that becomes another kind of thing is in two of the lists.
    """
    changes = list(changes)
    removals = [one for one in changes if one.now is not None and _kind(one.now) != _kind(one.target)]
    folders = [one for one in changes if one.target is not None and one.target.kind == "folder"]
    files = [one for one in changes if one.target is not None and one.target.kind != "folder"]
    return (
        sorted(removals, key=lambda one: one.path.count(b"/"), reverse=True),
        sorted(folders, key=lambda one: one.path.count(b"/")),
        files,
    )


def _kind(value: Value) -> str:
    return "" if value is None else value.kind


def shown(path: bytes) -> str:
    """Return a path as text on one line: what is not printable is escaped."""
    text = path.decode("utf-8", "backslashreplace")
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
