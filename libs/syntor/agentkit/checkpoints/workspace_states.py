"""Keeps the states of one workspace: reads what changed since the last one, and stores it under a name of its own."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from pathlib import Path

import msgspec

from syntor.agentkit.checkpoints.ignore_rules import IgnoreRules
from syntor.agentkit.checkpoints.objects import ObjectWriter
from syntor.agentkit.checkpoints.shadow_git import REFS, CheckpointError, ShadowGit, WorkspaceTooLargeError
from syntor.agentkit.checkpoints.states import States, write_state
from syntor.agentkit.checkpoints.undo_journal import UndoJournal
from syntor.agentkit.checkpoints.walk import Known, Walk
from syntor.agentkit.domain.checkpoint import LeftOut, Limits
from syntor.contracts.decoding import UNDECODABLE
from syntor.contracts.vocabulary import CheckpointMoment
from syntor.runtime.private_files import private

_IGNORE_TIMEOUT_S = 10.0  # for `.gitignore` files of a whole workspace; git takes 10 ms for 1,000 paths
_TOO_LARGE_FOR_S = 600.0  # until a workspace beyond the limits is read again
_CACHE_VERSION = 1


class Owner(msgspec.Struct, frozen=True):
    """Whose work a state bounds; each id is a token of a subject."""

    session: str
    run: str
    task: str


class Taken(msgspec.Struct, frozen=True):
    """A state that was kept."""

    id: str
    files: int
    """Files and links it holds."""
    size: int
    """Their bytes."""
    left_out: list[LeftOut]
    duration_s: float


class _Cache(msgspec.Struct, array_like=True):
    """The newest state, as the walk after it needs it."""

    version: int = _CACHE_VERSION
    commit: str = ""
    tree: str = ""
    number: int = 0
    entries: dict[bytes, Known] = {}
    left_out: list[LeftOut] = []


def repository_of(home: Path, workspace: Path) -> Path:
    """Return the folder of a workspace's shadow repository; the workspace's path is resolved."""
    digest = hashlib.sha256(os.fsencode(workspace)).hexdigest()[:32]
    return home / "checkpoints" / f"{digest}.git"


class WorkspaceStates:
    """The states of one workspace. Methods block: call them in a thread."""

    def __init__(self, home: Path, workspace: Path, limits: Limits) -> None:
        """Prepare; nothing is created yet.

        Args:
            home: Syntor's home folder.
            workspace: folder to keep states of.
        """
        self.workspace = workspace.resolve()
        self.git = ShadowGit(repository_of(home.resolve(), self.workspace))
        self.journal = UndoJournal(self.git, str(self.workspace))
        self.limits = limits
        self._home = home.resolve()
        self._too_large = ""
        self._next_attempt = 0.0

    def take(self, owner: Owner, moment: CheckpointMoment) -> Taken:
        """Keep the state as it is now, and finish an undo that was interrupted.

        Raises:
            CheckpointError: it cannot be kept; says why.
        """
        if problem := self._unsuitable():
            raise CheckpointError(problem)
        if time.monotonic() < self._next_attempt:
            raise CheckpointError(self._too_large)
        self.git.create()
        with self.git.locked():
            self.journal.finish_interrupted()
            return self.take_locked(owner, moment)

    def take_locked(self, owner: Owner, moment: CheckpointMoment) -> Taken:
        """Keep the state as it is now; the repository's lock is held."""
        began = time.monotonic()
        cache = self._cached()
        try:
            walk, commit, tree, number = self._keep(cache, owner, moment)
        except WorkspaceTooLargeError as exc:
            self._too_large, self._next_attempt = str(exc), time.monotonic() + _TOO_LARGE_FOR_S
            raise
        except CheckpointError:
            if not cache.commit or self._is_kept(cache.commit):
                raise
            cache = _Cache(number=cache.number)  # the repository was damaged, or emptied
            walk, commit, tree, number = self._keep(cache, owner, moment)
        self._store_cache(_Cache(_CACHE_VERSION, commit, tree, number, walk.entries, walk.left_out))
        sizes = [known.size for known in walk.entries.values() if known.object]
        duration_s = round(time.monotonic() - began, 6)
        return Taken(commit, len(sizes), sum(sizes), walk.left_out, duration_s)

    def _is_kept(self, commit: str) -> bool:
        try:
            self.git.run("rev-list", "--objects", "--max-count=1", commit)
        except CheckpointError:
            return False
        return True

    def _unsuitable(self) -> str:
        """Return why this folder is no workspace to keep states of; empty: it is one."""
        if not self.workspace.is_dir():
            return f"{self.workspace} is no folder"
        if self.workspace == Path(self.workspace.anchor):
            return "the workspace is the root of the file system"
        with contextlib.suppress(RuntimeError):
            if self.workspace == Path.home().resolve():
                return "the workspace is a home folder"
        if self.workspace.is_relative_to(self._home):
            return "the workspace is in Syntor's own folder"
        return ""

    def _keep(self, cache: _Cache, owner: Owner, moment: CheckpointMoment) -> tuple[Walk, str, str, int]:
        writer = ObjectWriter(self.git)
        try:
            walk = self._walk(cache, writer)
            number = max(cache.number + 1, time.time_ns())
            ref = f"{REFS}/{owner.session or '-'}/{owner.run}/{owner.task}/{number}.{moment}"
            if cache.commit and _same(cache, walk):
                self.git.run("update-ref", ref, cache.commit)
                return walk, cache.commit, cache.tree, number
            commit = write_state(writer, ref, walk.entries, walk.left_out, (cache.tree, cache.entries))
            return walk, commit, States(self.git).tree(commit), number
        finally:
            writer.close()

    def _walk(self, cache: _Cache, writer: ObjectWriter) -> Walk:
        reserved: set[bytes] = set()
        if self._home.is_relative_to(self.workspace):
            reserved.add(os.fsencode(self._home.relative_to(self.workspace)))
        with IgnoreRules(self.git, self.workspace, timeout_s=_IGNORE_TIMEOUT_S) as rules:
            walk = Walk(cache.entries, rules, writer, self.limits, frozenset(reserved))
            walk.run(str(self.workspace))
        return walk

    @property
    def _cache_file(self) -> Path:
        return self.git.folder / "newest"

    def _cached(self) -> _Cache:
        """Return the newest state; an empty one where none is known."""
        try:
            found = msgspec.msgpack.decode(self._cache_file.read_bytes(), type=_Cache)
        except (OSError, *UNDECODABLE):
            return _Cache()
        return found if found.version == _CACHE_VERSION else _Cache()

    def _store_cache(self, cache: _Cache) -> None:
        temporary = self._cache_file.with_suffix(".new")
        try:
            with open(temporary, "wb", opener=private) as file:
                file.write(msgspec.msgpack.encode(cache))
            temporary.replace(self._cache_file)
        except OSError as exc:  # the next walk then compares with an older state, which is kept as well
            temporary.unlink(missing_ok=True)
            raise CheckpointError(f"{self._cache_file}: {exc.strerror}") from exc


def _same(cache: _Cache, walk: Walk) -> bool:
    """Return whether a walk found what the newest state holds."""
    if len(cache.entries) != len(walk.entries):
        return False
    for path, known in walk.entries.items():
        old = cache.entries.get(path)
        if old is None or old.object != known.object or old.mode != known.mode:
            return False
    return {(one.path, one.reason) for one in cache.left_out} == {(one.path, one.reason) for one in walk.left_out}
