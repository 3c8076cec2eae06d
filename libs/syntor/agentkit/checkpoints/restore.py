"""Brings paths of a workspace back to kept values, each in one step; a second attempt continues the first.

Folders are opened one below the other without following links: nothing outside the workspace is read or written.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Generator, Iterable, Sequence
from functools import partial

from syntor.agentkit.checkpoints.shadow_git import ShadowGit, object_id
from syntor.agentkit.checkpoints.walk import read_file
from syntor.agentkit.domain.checkpoint import BLOCKED, NOT_KEPT, Change, Entry, Value, in_order, shown

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_IN_THE_WAY = (errno.ENOTDIR, errno.ELOOP)
_Act = Callable[[Change], None]
_MAX_PRESENT_BYTES = 256 * 1024 * 1024  # of a file in the way; a larger one is never replaced
TEMPORARY = ".syntor-undo"


class Restore:
    """Examines and changes paths of one workspace. Methods block."""

    def __init__(self, root: str, git: ShadowGit) -> None:
        self._root = root
        self._git = git
        self._opened: dict[bytes, int] = {}
        """Folders whose permission bits were widened for the time of the work, with the bits they had."""

    def values(self, paths: Iterable[bytes], keep: Callable[[bytes], object] = len) -> dict[bytes, Value]:
        """Return what is at each path now; `keep` is called with each content."""
        return {path: self._value(path, keep) for path in paths}

    def apply(self, changes: Sequence[Change]) -> list[str]:
        """Make changes; what is at its target already is left. Return a line for each that could not be made."""
        notes: list[str] = []
        due: list[Change] = []
        for change in changes:
            value = self._value(change.path)
            if value == change.target:
                continue
            if value != change.now and value is not None and not _is_between(value, change):
                notes.append(f"{shown(change.path)}: it changed meanwhile, and was left")
                continue
            due.append(Change(change.path, value, change.target))
        removals, folders, files = in_order(due)
        for change in removals:
            self._attempt(change, self._remove, notes)
        for change in folders:
            self._attempt(change, self._make_folder, notes)
        wanted = [change for change in files if change.target is not None]
        contents = self._git.contents(change.target.object for change in wanted if change.target is not None)
        for change, content in zip(wanted, contents, strict=True):
            self._attempt(change, partial(self._put, content=content), notes)
        self._finish_modes(folders, notes)
        return notes

    def _value(self, path: bytes, keep: Callable[[bytes], object] = len) -> Value:
        try:
            with self._parent(path) as (parent, name):
                status = os.stat(name, dir_fd=parent, follow_symlinks=False)
                bits = stat.S_IMODE(status.st_mode)
                if stat.S_ISDIR(status.st_mode):
                    return Entry("folder", bits)
                if stat.S_ISLNK(status.st_mode):
                    link = os.readlink(name, dir_fd=parent)
                    keep(link)
                    return Entry("link", 0, object_id(link))
                if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_PRESENT_BYTES:
                    return Entry("file", bits, NOT_KEPT)
                content = read_file(os.fsdecode(name), parent, _MAX_PRESENT_BYTES)[0]
                keep(content)
                return Entry("file", bits, object_id(content))
        except FileNotFoundError:
            return None
        except OSError:
            return BLOCKED

    @contextlib.contextmanager
    def _parent(self, path: bytes) -> Generator[tuple[int, bytes], None, None]:
        """Open the folder of a path; raises OSError where a part of the path is missing, a link or no folder."""
        parts = path.split(b"/")
        current = os.open(self._root, _FOLDER & ~os.O_NOFOLLOW)
        try:
            for part in parts[:-1]:
                below = os.open(part, _FOLDER, dir_fd=current)
                os.close(current)
                current = below
            yield current, parts[-1]
        finally:
            os.close(current)

    def _attempt(self, change: Change, act: _Act, notes: list[str]) -> None:
        try:
            try:
                act(change)
            except PermissionError:
                self._open_up(change.path)
                act(change)
        except OSError as exc:
            notes.append(f"{shown(change.path)}: {_why(exc)}")

    def _open_up(self, path: bytes) -> None:
        """Let the owner use the folders above a path until the work is done."""
        parts = path.split(b"/")[:-1]
        for count in range(1, len(parts) + 1):
            folder = b"/".join(parts[:count])
            with self._parent(folder) as (parent, name):
                status = os.stat(name, dir_fd=parent, follow_symlinks=False)
                bits = stat.S_IMODE(status.st_mode)
                if stat.S_ISDIR(status.st_mode) and bits & 0o700 != 0o700:
                    self._opened.setdefault(folder, bits)
                    _set_mode(parent, name, bits | 0o700)

    def _remove(self, change: Change) -> None:
        with self._parent(change.path) as (parent, name):
            if change.now is not None and change.now.kind == "folder":
                os.rmdir(name, dir_fd=parent)
            else:
                os.unlink(name, dir_fd=parent)

    def _make_folder(self, change: Change) -> None:
        self._make_parents(change.path)
        with self._parent(change.path) as (parent, name):
            if change.now is None or change.now.kind != "folder":
                os.mkdir(name, 0o700, dir_fd=parent)

    def _make_parents(self, path: bytes) -> None:
        parts = path.split(b"/")[:-1]
        for count in range(1, len(parts) + 1):
            with self._parent(b"/".join(parts[:count])) as (parent, name), contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o755, dir_fd=parent)

    def _put(self, change: Change, content: bytes) -> None:
        target = change.target
        assert target is not None
        self._make_parents(change.path)
        with self._parent(change.path) as (parent, name):
            temporary = TEMPORARY.encode()
            with contextlib.suppress(FileNotFoundError):  # of an attempt whose process was killed
                os.unlink(temporary, dir_fd=parent)
            if target.kind == "link":
                os.symlink(content, temporary, dir_fd=parent)
            else:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                with open(os.open(temporary, flags, 0o600, dir_fd=parent), "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fchmod(file.fileno(), target.mode)
            os.replace(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)

    def _finish_modes(self, folders: Sequence[Change], notes: list[str]) -> None:
        """Set the permission bits of folders, innermost first, once nothing has to be written in them any more."""
        wanted = dict(self._opened) | {each.path: each.target.mode for each in folders if each.target is not None}
        self._opened.clear()
        for path in sorted(wanted, key=lambda each: each.count(b"/"), reverse=True):
            try:
                with self._parent(path) as (parent, name):
                    _set_mode(parent, name, wanted[path])
            except FileNotFoundError:
                continue
            except OSError as exc:
                notes.append(f"{shown(path)}: {_why(exc)}")


def _set_mode(parent: int, name: bytes, mode: int) -> None:
    """Set the permission bits of a folder that may not be readable, and of nothing a link leads to."""
    if os.chmod in os.supports_follow_symlinks:
        os.chmod(name, mode, dir_fd=parent, follow_symlinks=False)
        return
    descriptor = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        os.chmod(f"/proc/self/fd/{descriptor}", mode)  # Linux has no fchmodat without links
    finally:
        os.close(descriptor)


def _is_between(value: Entry, change: Change) -> bool:
    """Return whether a value is one an interrupted attempt leaves: a folder without its permission bits yet."""
    target = change.target
    return value.kind == "folder" and target is not None and target.kind == "folder"


def _why(exc: OSError) -> str:
    if exc.errno == errno.ENOTEMPTY:
        return "the folder is kept, it holds other files"
    if exc.errno in _IN_THE_WAY:
        return "a part of its path is no folder"
    return exc.strerror or str(exc)
