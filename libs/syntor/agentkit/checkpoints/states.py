"""States in a shadow repository: a commit whose tree has the files, and a blob with what git does not keep."""

from __future__ import annotations

import stat
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import msgspec

from syntor.agentkit.checkpoints.objects import GIT_LINK, ObjectWriter, git_mode
from syntor.agentkit.checkpoints.shadow_git import CheckpointError, ShadowGit
from syntor.agentkit.checkpoints.walk import Known
from syntor.agentkit.domain.checkpoint import Delta, Entry, LeftOut, Segment, Step, Touch, Value, known_delta, touches
from syntor.contracts.decoding import UNDECODABLE

FILES = b"files/"
_DETAILS = "details"
_USUAL = {0o100644: 0o644, 0o100755: 0o755}
_KNOWN_DETAILS, _KNOWN_DELTAS = 4, 256
_PATHS_PER_CALL = 500  # on a command line


class Details(msgspec.Struct, frozen=True):
    """What git does not keep of a state."""

    folders: dict[bytes, int] = {}
    """Permission bits of every folder."""
    modes: dict[bytes, int] = {}
    """Permission bits of files that have others than 0644 and, where executable, 0755."""
    left_out: list[LeftOut] = []


def entry_of(known: Known) -> Entry:
    """Return what a walk found at a path."""
    bits = stat.S_IMODE(known.mode)
    if stat.S_ISDIR(known.mode):
        return Entry("folder", bits)
    return Entry("link", 0, known.object) if stat.S_ISLNK(known.mode) else Entry("file", bits, known.object)


def write_state(
    writer: ObjectWriter,
    ref: str,
    entries: Mapping[bytes, Known],
    left_out: list[LeftOut],
    base: tuple[str, Mapping[bytes, Known]],
) -> str:
    """Store a state and return its id.

    Args:
        base: tree of the state before, and its entries.

    Raises:
        CheckpointError: it cannot be stored.
    """
    tree, before = base
    changed: list[tuple[bytes, int, str]] = []
    folders: dict[bytes, int] = {}
    modes: dict[bytes, int] = {}
    for path, known in entries.items():
        bits = stat.S_IMODE(known.mode)
        if stat.S_ISDIR(known.mode):
            folders[path] = bits
            continue
        mode = git_mode(known.mode, link=stat.S_ISLNK(known.mode))
        if mode in _USUAL and bits != _USUAL[mode]:
            modes[path] = bits
        old = before.get(path) if tree else None
        if old is None or old.object != known.object or old.mode != known.mode:
            changed.append((FILES + path, mode, known.object))
    removed = [
        FILES + path
        for path, old in before.items()
        if tree and not stat.S_ISDIR(old.mode) and (path not in entries or stat.S_ISDIR(entries[path].mode))
    ]
    details = writer.add(msgspec.msgpack.encode(Details(folders, modes, left_out)))
    return writer.commit(ref, tree, [*changed, (_DETAILS.encode(), 0o100644, details)], removed)


class States:
    """Reads states of one repository; those read once are remembered."""

    def __init__(self, git: ShadowGit) -> None:
        self._git = git
        self._known_details: OrderedDict[str, Details] = OrderedDict()
        self._deltas: OrderedDict[tuple[str, str], Delta] = OrderedDict()

    def tree(self, commit: str) -> str:
        """Return the tree of a state.

        Raises:
            CheckpointError: it is not kept any more.
        """
        return self._git.run("rev-parse", "--verify", f"{commit}^{{tree}}").decode().strip()

    def _details(self, commit: str) -> Details:
        """Return what git does not keep of a state; raises CheckpointError."""
        found = self._known_details.get(commit)
        if found is None:
            try:
                content = self._git.run("cat-file", "blob", f"{commit}:{_DETAILS}")
            except CheckpointError as exc:
                text = f"checkpoint {commit[:12]} is not kept (any more) in {self._git.folder}"
                raise CheckpointError(text) from exc
            try:
                found = msgspec.msgpack.decode(content, type=Details)
            except UNDECODABLE as exc:
                raise CheckpointError(f"checkpoint {commit[:12]} is of another version") from exc
            self._known_details[commit] = found
            if len(self._known_details) > _KNOWN_DETAILS:
                self._known_details.popitem(last=False)
        return found

    def delta(self, before: str, after: str) -> Delta:
        """Return what differs between two states.

        Raises:
            CheckpointError: one is not kept any more.
        """
        if before == after:
            return {}
        if (before, after) not in self._deltas:
            self._deltas[before, after] = self._read_delta(before, after)
            if len(self._deltas) > _KNOWN_DELTAS:
                self._deltas.popitem(last=False)
        return self._deltas[before, after]

    def _read_delta(self, before: str, after: str) -> Delta:
        old, new = self._details(before), self._details(after)
        found: dict[bytes, tuple[Value, Value]] = {}
        fields = self._git.run("diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", before, after)
        rest = iter(fields.split(b"\0"))
        for head in rest:
            if not head:
                break
            path = next(rest)
            if not path.startswith(FILES):
                continue
            path = path[len(FILES) :]
            old_mode, new_mode, old_object, new_object = head[1:].split()[:4]
            found[path] = (_entry(path, old_mode, old_object, old), _entry(path, new_mode, new_object, new))
        changed = {
            path
            for path in old.modes.keys() | new.modes.keys()
            if path not in found and old.modes.get(path) != new.modes.get(path)
        }
        found |= self._with_other_modes(after, changed, old, new)
        for path in old.folders.keys() | new.folders.keys():
            was, now = old.folders.get(path), new.folders.get(path)
            if was == now:
                continue
            file_before, file_after = found.get(path, (None, None))
            found[path] = (
                Entry("folder", was) if was is not None else file_before,
                Entry("folder", now) if now is not None else file_after,
            )
        return known_delta(found, old.left_out, new.left_out)

    def _with_other_modes(
        self, commit: str, paths: set[bytes], old: Details, new: Details
    ) -> dict[bytes, tuple[Value, Value]]:
        """Return the files of which only permission bits that git does not keep changed."""
        found: dict[bytes, tuple[Value, Value]] = {}
        ordered = sorted(paths)
        for start in range(0, len(ordered), _PATHS_PER_CALL):
            named = [FILES + path for path in ordered[start : start + _PATHS_PER_CALL]]
            for line in self._git.run("ls-tree", "-z", commit, "--", *named).split(b"\0"):
                if not line:
                    continue
                head, _, name = line.partition(b"\t")
                mode, _, content = head.split()
                path = name[len(FILES) :]
                found[path] = (_entry(path, mode, content, old), _entry(path, mode, content, new))
        return found

    def left_out(self, commit: str) -> Sequence[LeftOut]:
        """Return what a state does not hold; raises CheckpointError."""
        return self._details(commit).left_out

    def touched(self, stretches: Sequence[Segment]) -> dict[bytes, Touch]:
        """Return the paths that agents changed in stretches of work, oldest first, each with a state after it.

        Raises:
            CheckpointError: a state is not kept any more.
        """
        steps: list[Step] = []
        reached = ""
        for segment in stretches:
            if reached:
                steps.append(Step(self.delta(reached, segment.before), by_agents=False))
            steps.append(Step(self.delta(segment.before, segment.after), by_agents=True, certain=segment.certain))
            reached = segment.after
        return touches(steps)


def _entry(path: bytes, mode: bytes, content: bytes, details: Details) -> Value:
    number = int(mode, 8)
    if number == 0:
        return None
    if number == GIT_LINK:
        return Entry("link", 0, content.decode())
    return Entry("file", details.modes.get(path, _USUAL.get(number, 0o644)), content.decode())
