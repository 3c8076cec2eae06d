"""The undos of a workspace: each is written down before it begins; the next process finishes one that was killed."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import msgspec

from syntor.agentkit.checkpoints.objects import GIT_FILE, ObjectWriter
from syntor.agentkit.checkpoints.restore import Restore
from syntor.agentkit.checkpoints.shadow_git import REFS, CheckpointError, ShadowGit
from syntor.agentkit.domain.checkpoint import Change, shown
from syntor.contracts.clock import now
from syntor.contracts.decoding import UNDECODABLE
from syntor.contracts.ids import new_id
from syntor.runtime.private_files import make_private_folder, private

_KEPT = 20  # undos that can be undone
_PENDING, _DONE = ".pending", ".done"


class Undo(msgspec.Struct, frozen=True, kw_only=True):
    """One undo."""

    id: str
    session: str
    at: datetime
    changes: list[Change]
    """The paths, with what was there before: the reverse brings that back."""


class UndoJournal:
    """Undos of one repository, whose lock the caller holds."""

    def __init__(self, git: ShadowGit, root: str) -> None:
        self._git = git
        self._root = root

    @property
    def _folder(self) -> Path:
        return self._git.folder / "undo"

    def carry_out(self, session: str, changes: list[Change]) -> list[str]:
        """Make changes, and keep what was there before; return a line for each that could not be made.

        Raises:
            CheckpointError: it cannot be written down, or something changed since it was planned: nothing was changed.
        """
        undo = Undo(id=new_id(), session=session, at=now(), changes=changes)
        self._git.require(
            change.target.object for change in changes if change.target is not None and change.target.object
        )
        self._keep_present(undo)
        path = self._folder / f"{undo.id}{_PENDING}"
        try:
            make_private_folder(self._folder)
            temporary = path.with_suffix(".new")
            with open(temporary, "wb", opener=private) as file:
                file.write(msgspec.msgpack.encode(undo))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as exc:
            raise CheckpointError(f"{path}: {exc.strerror}: nothing was changed") from exc
        return self._finish(path, undo)

    def finish_interrupted(self) -> list[str]:
        """Finish undos whose process was killed; return a line for each change that could not be made."""
        notes: list[str] = []
        for path in sorted(self._folder.glob(f"*{_PENDING}")):
            undo = _read(path)
            notes += self._finish(path, undo) if undo is not None else []
        return notes

    def newest(self, session: str) -> Undo | None:
        """Return the newest undo of a session; None where none is known."""
        for path in sorted(self._folder.glob(f"*{_DONE}"), reverse=True):
            undo = _read(path)
            if undo is not None and undo.session == session:
                return undo
        return None

    def _keep_present(self, undo: Undo) -> None:
        """Keep the contents that an undo replaces."""
        writer = ObjectWriter(self._git)
        try:
            values = Restore(self._root, self._git).values((one.path for one in undo.changes), writer.add)
            for change in undo.changes:
                if values[change.path] != change.now:
                    raise CheckpointError(f"{shown(change.path)} has just been changed: nothing was undone")
            kept = [
                (str(number).encode(), GIT_FILE, change.now.object)
                for number, change in enumerate(undo.changes)
                if change.now is not None and change.now.object
            ]
            writer.commit(f"{REFS}/undo/{undo.id}", "", kept, ())
        finally:
            writer.close()

    def _finish(self, path: Path, undo: Undo) -> list[str]:
        notes = Restore(self._root, self._git).apply(undo.changes)
        path.replace(path.with_suffix(_DONE))
        for old in sorted(self._folder.glob(f"*{_DONE}"))[:-_KEPT]:
            old.unlink(missing_ok=True)
            self._git.run("update-ref", "-d", f"{REFS}/undo/{old.stem}")
        return notes


def _read(path: Path) -> Undo | None:
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=Undo)
    except (OSError, *UNDECODABLE):
        return None
