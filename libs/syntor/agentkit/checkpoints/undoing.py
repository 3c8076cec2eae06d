"""Undoes agents' work on one workspace, and shows it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager

import msgspec

from syntor.agentkit.checkpoints.objects import ObjectWriter, git_mode
from syntor.agentkit.checkpoints.restore import Restore
from syntor.agentkit.checkpoints.shadow_git import REFS, CheckpointError
from syntor.agentkit.checkpoints.states import FILES, States
from syntor.agentkit.checkpoints.workspace_states import Owner, WorkspaceStates
from syntor.agentkit.domain.checkpoint import (
    NOT_KEPT,
    UNKNOWN,
    Change,
    Conflict,
    LeftOut,
    Mark,
    Plan,
    Segment,
    Touch,
    Value,
    plan_undo,
    segments,
    shown,
)
from syntor.contracts.vocabulary import CheckpointMoment

_SHOWN = f"{REFS}/shown"


class Figures(msgspec.Struct, frozen=True):
    """How much agents changed."""

    files: int = 0
    """Files and links."""
    added: int = 0
    """Lines; those of binary files do not count."""
    removed: int = 0


class _KeptMark(msgspec.Struct, frozen=True):
    session: str
    number: int
    mark: Mark


class Undoing:
    """Undoes and shows stretches of work. Methods block: call them in a thread; each raises CheckpointError."""

    def __init__(self, states: WorkspaceStates) -> None:
        self._workspace = states
        self._git = states.git
        self._states = States(states.git)

    def plan(self, work: Sequence[Segment], session: str, *, force: bool) -> Plan:
        """Return what an undo of stretches of work, oldest first, would do now.

        Args:
            force: take back also what someone else changed.
        """
        with self._locked():
            return self._plan(self._closed(work, session), session, force=force)

    def planned_redo(self, session: str, *, force: bool) -> Plan:
        """Return what `redo` would do now."""
        with self._locked():
            return self._planned_redo(session, force=force)

    def undo(self, work: Sequence[Segment], session: str, *, force: bool) -> tuple[Plan, list[str]]:
        """Undo stretches of work, oldest first, unless there are conflicts and it is not forced.

        Returns:
            What was to be done, and a line for each path where that failed.
        """
        with self._locked():
            plan = self._plan(self._closed(work, session), session, force=force)
            if not plan.changes or (plan.conflicts and not force):
                return plan, []
            return plan, self._workspace.journal.carry_out(session, plan.changes)

    def redo(self, session: str, *, force: bool) -> tuple[Plan, list[str]]:
        """Bring back what the newest undo of a session replaced, as `undo`."""
        with self._locked():
            plan = self._planned_redo(session, force=force)
            if not plan.changes or (plan.conflicts and not force):
                return plan, []
            return plan, self._workspace.journal.carry_out(session, plan.changes)

    def _planned_redo(self, session: str, *, force: bool) -> Plan:
        self._workspace.journal.finish_interrupted()
        newest = self._workspace.journal.newest(session)
        if newest is None:
            raise CheckpointError(f"no undo of session {session} is known in {self._workspace.workspace}")
        touched = {change.path: Touch(change.now, change.target) for change in newest.changes}
        return plan_undo(touched, self._now(touched), force=force)

    def touched(self, work: Sequence[Segment], session: str) -> Mapping[bytes, Touch]:
        """Return the paths that agents changed in stretches of work."""
        with self._locked():
            return self._states.touched(self._closed(work, session))

    def lost(self, stretches: Sequence[Segment]) -> list[LeftOut]:
        """Return what was there before the first stretch, was not kept, and is gone: an undo cannot bring it back."""
        left_out = self._states.left_out(stretches[0].before) if stretches else ()
        now = self._now(one.path.rstrip(b"/") for one in left_out)
        return [one for one in left_out if now[one.path.rstrip(b"/")] is None]

    def figures(self, touched: Mapping[bytes, Touch]) -> Figures:
        """Return how much agents changed."""
        files = sum(1 for touch in touched.values() if _is_file(touch.target) or _is_file(touch.expected))
        added = removed = 0
        for line in self._diff(touched, "--numstat", "-z").split(b"\0"):
            counts = line.split(b"\t")[:2]
            if len(counts) == 2 and counts[0].isdigit() and counts[1].isdigit():
                added, removed = added + int(counts[0]), removed + int(counts[1])
        return Figures(files, added, removed)

    def diff(self, touched: Mapping[bytes, Touch], *, stat: bool) -> str:
        """Return what agents changed as a unified diff, or as a list of files with the number of lines.

        Folders and permission bits are lines of their own. Control characters of a terminal are escaped.
        """
        options = ["--stat=120"] if stat else ["--patch", "--find-renames"]
        text = self._diff(touched, *options).decode("utf-8", "replace")
        lines = [_printable(line) for line in text.splitlines()]
        return "\n".join(
            lines + [line for path, touch in sorted(touched.items()) if (line := _other_change(path, touch))]
        )

    def work_of_others(self, work: Sequence[Segment], session: str, conflicts: Sequence[Conflict]) -> str:
        """Return how conflicting paths differ from what agents left there, as a unified diff."""
        touched = self.touched(work, session)
        paths = [conflict.path for conflict in conflicts if conflict.path in touched]
        writer = ObjectWriter(self._git)
        try:
            values = Restore(str(self._workspace.workspace), self._git).values(paths, writer.add)
            writer.commit(_SHOWN, "", (), ())  # the contents are in the repository from now on
        finally:
            writer.close()
        return self.diff({path: Touch(touched[path].expected, values[path]) for path in paths}, stat=False)

    def _diff(self, touched: Mapping[bytes, Touch], *options: str) -> bytes:
        old = self._tree({path: touch.target for path, touch in touched.items()})
        new = self._tree({path: touch.expected for path, touch in touched.items()})
        common = ("--no-ext-diff", "--no-textconv", "--no-color", f"--relative={FILES.decode()}")
        return self._git.run("diff", *common, *options, old, new)

    def _tree(self, values: Mapping[bytes, Value]) -> str:
        """Store a tree of some files only, to compare; maintenance removes it."""
        files = [
            (FILES + path, git_mode(value.mode, link=value.kind == "link"), value.object)
            for path, value in values.items()
            if value is not None and value.object not in ("", NOT_KEPT)
        ]
        writer = ObjectWriter(self._git)
        try:
            return writer.commit(_SHOWN, "", files, ())
        finally:
            writer.close()

    def _locked(self) -> AbstractContextManager[None]:
        if not self._git.exists:
            raise CheckpointError(
                f"there are no checkpoints of {self._workspace.workspace} in {self._git.folder.parent}: "
                "they are on the machine, and in the home folder, of the agents that worked there"
            )
        return self._git.locked()

    def _plan(self, work: Sequence[Segment], session: str, *, force: bool) -> Plan:
        self._workspace.journal.finish_interrupted()
        touched = self._states.touched(work)
        return plan_undo(touched, self._now(touched), self._contested(work, session), force=force)

    def _now(self, touched: Iterable[bytes]) -> dict[bytes, Value]:
        return Restore(str(self._workspace.workspace), self._git).values(touched)

    def _closed(self, work: Sequence[Segment], session: str) -> list[Segment]:
        """Return the stretches with a state after the last one: that of now where its process was killed."""
        if not work or work[-1].after:
            return list(work)
        taken = self._workspace.take_locked(Owner(session, "undo", "t1"), "after")
        return [*work[:-1], msgspec.structs.replace(work[-1], after=taken.id)]

    def _contested(self, stretches: Sequence[Segment], session: str) -> set[bytes]:
        """Return the paths that agents of other sessions changed while this one's worked."""
        runs = {segment.run for segment in stretches}
        kept = self._kept_marks()
        own = [one.number for one in kept if one.session == session and one.mark.run in runs]
        found: set[bytes] = set()
        if not own:
            return found
        for other in {one.session for one in kept} - {session, "undo"}:
            theirs = [one for one in kept if one.session == other]
            for run in {one.mark.run for one in theirs}:
                marks = [one for one in theirs if one.mark.run == run]
                if marks[0].number <= max(own) and marks[-1].number >= min(own):
                    closed = [each for each in segments(one.mark for one in marks) if each.after]
                    found.update(self._states.touched(closed))
        return found

    def _kept_marks(self) -> list[_KeptMark]:
        """Return all kept states with whose work they bound, in the order they were kept."""
        found: list[_KeptMark] = []
        for line in self._git.run("for-each-ref", "--format=%(objectname) %(refname)", REFS).decode().splitlines():
            commit, _, name = line.partition(" ")
            parts = name.removeprefix(f"{REFS}/").split("/")
            if len(parts) != 4:
                continue
            number, _, moment = parts[3].partition(".")
            at: CheckpointMoment = "before" if moment == "before" else "after"
            session = "" if parts[0] == "-" else parts[0]
            found.append(_KeptMark(session, int(number), Mark(parts[1], parts[2], at, commit)))
        return sorted(found, key=lambda one: one.number)


def _is_file(value: Value) -> bool:
    return value is not None and value.kind != "folder"


def _other_change(path: bytes, touch: Touch) -> str:
    """Return a line for what the diff of git does not show; empty: there is nothing."""
    before, after = touch.target, touch.expected
    name = shown(path)
    if after == UNKNOWN:
        return f"too large to be kept: {name}"
    if before is not None and after is not None and before.kind == after.kind and before.mode != after.mode:
        return f"mode {before.mode:04o} -> {after.mode:04o}: {name}"
    if after is not None and after.kind == "folder":
        return f"new folder: {name}/"
    return f"removed folder: {name}/" if before is not None and before.kind == "folder" else ""


def _printable(line: str) -> str:
    return "".join(each if each.isprintable() or each == "\t" else repr(each)[1:-1] for each in line)


def summary(plan: Plan) -> list[str]:
    """Return a line for each change of a plan."""
    return [f"{_verb(change)} {shown(change.path)}" for change in plan.changes]


def _verb(change: Change) -> str:
    if change.now is None:
        return "bring back"
    if change.target is None:
        return "remove    "
    same = change.now.kind == change.target.kind and change.now.object == change.target.object
    return "mode of   " if same else "restore   "
