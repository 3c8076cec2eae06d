"""Reads a workspace: what is in it, with the contents of what changed since the state that is known.

Folders are opened one below the other without following links, so nothing outside the workspace is read, whatever is
moved or linked meanwhile. Only regular files and links are opened. What is not read is said, with its reason.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Mapping

import msgspec

from syntor.agentkit.checkpoints.ignore_rules import IgnoreRules
from syntor.agentkit.checkpoints.objects import ObjectWriter
from syntor.agentkit.checkpoints.shadow_git import NEVER_KEPT, CheckpointError, WorkspaceTooLargeError
from syntor.agentkit.domain.checkpoint import LeftOut, Limits
from syntor.contracts.vocabulary import LeftOutReason

MAX_DEPTH = 100  # folders; each open one is a descriptor
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC  # a pipe must not block
_RACY_NS = 100_000_000  # a file changed so shortly before it was read may change again within the same time stamp
_ATTEMPTS = 3  # at a file that changes while it is read
_NEVER_KEPT = frozenset(name.encode() for name in NEVER_KEPT)
_MAX_PATH = 4096


class Known(msgspec.Struct, frozen=True, array_like=True):
    """What is known of one path: as long as its status is the same, so is its content."""

    mode: int
    """With the type bits."""
    size: int = 0
    changed_ns: int = 0
    """Time its inode changed; 0: its content has to be read again."""
    modified_ns: int = 0
    inode: int = 0
    object: str = ""
    ignored: bool = False
    """Whether it is kept although git ignores it."""

    def is_still(self, status: os.stat_result) -> bool:
        """Return whether a status shows that nothing changed."""
        return (
            self.changed_ns == status.st_ctime_ns
            and self.mode == status.st_mode
            and self.size == status.st_size
            and self.modified_ns == status.st_mtime_ns
            and self.inode == status.st_ino
        )


class Walk:
    """One pass over a workspace. `entries` and `left_out` are its result."""

    def __init__(
        self,
        known: Mapping[bytes, Known],
        rules: IgnoreRules,
        writer: ObjectWriter,
        limits: Limits,
        reserved: frozenset[bytes] = frozenset(),
    ) -> None:
        """Prepare.

        Args:
            reserved: folders that are never entered, relative to the workspace.
        """
        self.entries: dict[bytes, Known] = {}
        self.left_out: list[LeftOut] = []
        self._known = known
        self._rules = rules
        self._writer = writer
        self._limits = limits
        self._reserved = reserved
        self._began_ns = time.time_ns()
        self._end = time.monotonic() + limits.timeout_s
        self._bytes = 0
        self._ignored_files = 0
        self._ignored_bytes = 0
        self._device = 0

    def run(self, root: str) -> None:
        """Read a workspace.

        Raises:
            CheckpointError: it has too many files, is not readable, or takes too long.
        """
        try:
            descriptor = os.open(root, _FOLDER_FLAGS & ~os.O_NOFOLLOW)
        except OSError as exc:
            raise CheckpointError(f"{root}: {exc.strerror}") from exc
        try:
            self._device = os.fstat(descriptor).st_dev
            self._folder(descriptor, b"", ignored=False, depth=0)
        finally:
            os.close(descriptor)

    def _folder(self, descriptor: int, prefix: bytes, *, ignored: bool, depth: int) -> None:
        try:
            listed = _listed(descriptor, prefix)
        except OSError as exc:
            if not prefix:
                raise CheckpointError(f"the workspace cannot be read: {exc.strerror}") from exc
            return self._leave(prefix, "unreadable")
        self._check(len(listed))
        unknown = [path for path, _, _ in listed if path not in self._known and not _is_git(path)]
        fresh: set[bytes] = set(unknown) if ignored else self._rules.ignored(unknown)
        for path, name, status in listed:
            if _is_git(path):
                if not path.endswith(b".git"):
                    self._leave(path, "reserved")
                continue
            known = self._known.get(path)
            hidden = known.ignored if known is not None else path in fresh
            if stat.S_ISDIR(status.st_mode):
                self._subfolder(descriptor, path, name, status, known, ignored=hidden, depth=depth)
            elif stat.S_ISREG(status.st_mode):
                self._file(descriptor, path, name, status, known, ignored=hidden)
            elif stat.S_ISLNK(status.st_mode):
                self._link(descriptor, path, name, status, known, ignored=hidden)
            else:
                self._leave(path, "special")
        return None

    def _subfolder(
        self,
        parent: int,
        path: bytes,
        name: str,
        status: os.stat_result,
        known: Known | None,
        *,
        ignored: bool,
        depth: int,
    ) -> None:
        if path in self._reserved:
            return self._leave(path + b"/", "reserved")
        if status.st_dev != self._device:
            return self._leave(path + b"/", "other_file_system")
        if depth >= MAX_DEPTH or len(path) > _MAX_PATH - 256:
            return self._leave(path + b"/", "too_deep")
        try:
            descriptor = os.open(name, _FOLDER_FLAGS, dir_fd=parent)
        except PermissionError:
            self.entries[path] = Known(status.st_mode, ignored=ignored)
            return self._leave(path + b"/", "unreadable")
        except OSError:  # removed or replaced meanwhile
            return None
        try:
            if ignored and known is None and not self._fits(descriptor, name):
                return self._leave(path + b"/", "ignored")
            self.entries[path] = Known(os.fstat(descriptor).st_mode, ignored=ignored)
            self._folder(descriptor, path + b"/", ignored=ignored, depth=depth + 1)
        finally:
            os.close(descriptor)

    def _fits(self, descriptor: int, name: str) -> bool:
        """Return whether an ignored folder is small enough to be kept whole."""
        if os.fsencode(name) in _NEVER_KEPT:
            return False
        files, size = self._ignored_files, self._ignored_bytes
        for _, folders, names, current in os.fwalk(".", dir_fd=descriptor, onerror=lambda _: None):
            files += len(folders) + len(names)
            for each in names:
                try:
                    size += os.stat(each, dir_fd=current, follow_symlinks=False).st_size
                except OSError:
                    continue
                if size > self._limits.max_ignored_bytes:
                    return False
            if files > self._limits.max_ignored_files:
                return False
        return True

    def _file(
        self, parent: int, path: bytes, name: str, status: os.stat_result, known: Known | None, *, ignored: bool
    ) -> None:
        if status.st_size > self._limits.max_file_bytes:
            return self._leave(path, "large", status.st_size)
        if ignored and known is None and not self._has_room(status.st_size):
            return self._leave(path, "ignored", status.st_size)
        if self._bytes + status.st_size > self._limits.max_bytes:
            return self._leave(path, "total", status.st_size)
        content = ""
        if known is not None and known.is_still(status):
            content = known.object
        else:
            self._check()
            try:
                data, status = read_file(name, parent, self._limits.max_file_bytes)
            except PermissionError:
                return self._leave(path, "unreadable", status.st_size)
            except OSError:  # removed or replaced meanwhile
                return None
            if len(data) > self._limits.max_file_bytes:
                return self._leave(path, "large", len(data))
            content = self._writer.add(data)
        self._bytes += status.st_size
        self._keep(path, status, content, ignored=ignored)

    def _link(
        self, parent: int, path: bytes, name: str, status: os.stat_result, known: Known | None, *, ignored: bool
    ) -> None:
        if ignored and known is None and not self._has_room(0):
            return self._leave(path, "ignored")
        if known is not None and known.is_still(status):
            return self._keep(path, status, known.object, ignored=ignored)
        try:
            target = os.fsencode(os.readlink(name, dir_fd=parent))
        except OSError:
            return None
        self._keep(path, status, self._writer.add(target), ignored=ignored)

    def _keep(self, path: bytes, status: os.stat_result, content: str, *, ignored: bool) -> None:
        if ignored:
            self._ignored_files += 1
            self._ignored_bytes += status.st_size
        settled = status.st_ctime_ns < self._began_ns - _RACY_NS
        self.entries[path] = Known(
            status.st_mode,
            status.st_size,
            status.st_ctime_ns if settled else 0,
            status.st_mtime_ns,
            status.st_ino,
            content,
            ignored,
        )

    def _has_room(self, size: int) -> bool:
        limits = self._limits
        files, total = self._ignored_files + 1, self._ignored_bytes + size
        return files <= limits.max_ignored_files and total <= limits.max_ignored_bytes

    def _leave(self, path: bytes, reason: LeftOutReason, size: int = 0) -> None:
        self.left_out.append(LeftOut(path, reason, size))

    def _check(self, more: int = 0) -> None:
        """Check the limits, with some more files to come.

        Raises:
            WorkspaceTooLargeError: one is exceeded.
        """
        if time.monotonic() > self._end:
            raise WorkspaceTooLargeError(f"reading the workspace took longer than {self._limits.timeout_s:g} s")
        if len(self.entries) + len(self.left_out) + more > self._limits.max_files:
            raise WorkspaceTooLargeError(f"the workspace has more than {self._limits.max_files} files")


def read_file(name: str, parent: int, limit: int) -> tuple[bytes, os.stat_result]:
    """Return the content of a regular file, up to one byte beyond a limit, and the status that belongs to it.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    descriptor = os.open(name, _FILE_FLAGS, dir_fd=parent)
    try:
        data, after = b"", os.fstat(descriptor)
        for _ in range(_ATTEMPTS):
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise OSError(f"{name} is no regular file")
            os.lseek(descriptor, 0, os.SEEK_SET)
            data = _read(descriptor, limit + 1)
            after = os.fstat(descriptor)
            if (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size) and len(
                data
            ) == after.st_size:
                break
        return data, after
    finally:
        os.close(descriptor)


def _read(descriptor: int, limit: int) -> bytes:
    parts: list[bytes] = []
    left = limit
    while left > 0 and (part := os.read(descriptor, min(left, 1 << 20))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _listed(descriptor: int, prefix: bytes) -> list[tuple[bytes, str, os.stat_result]]:
    """Return path, name and status of everything in a folder, by name; raises OSError."""
    found: list[tuple[bytes, str, os.stat_result]] = []
    with os.scandir(descriptor) as entries:
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:  # removed meanwhile
                continue
            found.append((prefix + os.fsencode(entry.name), entry.name, status))
    found.sort()
    return found


def _is_git(path: bytes) -> bool:
    """Return whether a path is git's own, or spelled so like it that git refuses to keep it."""
    return path[-4:].lower() == b".git" and path[-5:-4] in (b"", b"/")
