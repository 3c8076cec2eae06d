"""Opens, replaces and removes files of a workspace: regular files only, never outside it, without waiting.

A path is resolved, then walked folder by folder from the workspace with O_NOFOLLOW: a link put in its place meanwhile
is refused instead of followed. A FIFO, socket or device is refused before and after it is opened, and O_NONBLOCK keeps
the call from waiting for one. All functions block on the disk and belong in a thread.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import os
import secrets
import stat
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO

from syntor.agentkit.domain.path_names import quoted
from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.tools.paths import inside

_MOST_COMPARED = 5000  # names of a folder that are compared with one that is not there
_TRIES = 3  # a link exchanged during the walk is resolved again this often
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_KINDS = (
    (stat.S_ISDIR, "a folder; use list_directory"),
    (stat.S_ISFIFO, "a FIFO, not a regular file"),
    (stat.S_ISSOCK, "a socket, not a regular file"),
    (stat.S_ISCHR, "a device, not a regular file"),
    (stat.S_ISBLK, "a device, not a regular file"),
)
_EXCHANGED = (errno.ELOOP, errno.ENOTDIR)


@contextlib.contextmanager
def opened(workspace: Path, path: str) -> Generator[BinaryIO]:
    """Open a regular file for reading.

    Raises:
        ToolError: there is none, it is no regular file, it lies outside the workspace, or it cannot be read.
    """
    with _parent(workspace, path) as (folder, name), _told(workspace, path):
        file = os.fdopen(_open_regular(folder, name, path, os.O_RDONLY), "rb")
        with file:
            yield file


def read_whole(workspace: Path, path: str, most_bytes: int) -> tuple[bytes, os.stat_result]:
    """Return the content of a regular file and its status.

    Raises:
        ToolError: as `opened`, or it is larger than `most_bytes`.
    """
    with opened(workspace, path) as file:
        status = os.fstat(file.fileno())
        data = file.read(most_bytes + 1) if status.st_size <= most_bytes else b""
        if max(len(data), status.st_size) > most_bytes:
            raise ToolError(f"{quoted(path)} has {status.st_size} bytes, more than {most_bytes}; use read_file or grep")
        return data, status


def regular_status(workspace: Path, path: str) -> os.stat_result:
    """Return the status of a regular file.

    Raises:
        ToolError: there is none, it is no regular file, or it lies outside the workspace.
    """
    with opened(workspace, path) as file:
        return os.fstat(file.fileno())


def status(workspace: Path, path: str) -> os.stat_result | None:
    """Return the status of a file or folder, links followed inside the workspace; None where there is none.

    Raises:
        ToolError: it lies outside the workspace.
    """
    try:
        return os.lstat(inside(workspace, path))
    except (OSError, ValueError):
        return None


def names(workspace: Path, path: str) -> list[str]:
    """Return the sorted names in a folder, those of folders with a slash behind them.

    Raises:
        ToolError: it is no folder of the workspace, or cannot be read.
    """
    with _told(workspace, path):
        return _names(workspace, inside(workspace, path), "/")


def replace_file(workspace: Path, path: str, data: bytes, seen: os.stat_result | None) -> None:
    """Write a file whole; folders that are missing are made.

    The file is replaced by a complete one, so no reader sees a part; mode and owner are kept. A file with several
    names (hard links) is written in place, with its room reserved first, so that the names stay one file.

    Args:
        seen: status of the file the content was made from; None: it is new.

    Raises:
        ToolError: the file is no longer as it was seen, or it cannot be written; then it is as before.
    """
    with _parent(workspace, path, make=seen is None) as (folder, name), _told(workspace, path):
        now = _regular_status(folder, name, path)
        if _version(now) != _version(seen):
            raise ToolError(f"{quoted(path)} was changed by something else meanwhile; read it again")
        if now is not None and now.st_nlink > 1:
            _write_in_place(folder, name, path, data, now)
        else:
            _rename_over(folder, name, data, now)


def remove_file(workspace: Path, path: str) -> None:
    """Remove a regular file or a link.

    Raises:
        ToolError: there is none, or it cannot be removed.
    """
    with _parent(workspace, path) as (folder, name), _told(workspace, path):
        if _regular_status(folder, name, path) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        os.unlink(name, dir_fd=folder)


def near_names(workspace: Path, path: str) -> str:
    """Return a hint that names files like one that is not there; empty where none is."""
    wanted = Path(path)
    folder = wanted.parent
    while str(folder) not in (".", "/", "") and not (workspace / folder).is_dir():
        folder = folder.parent
    try:
        found = _names(workspace, inside(workspace, str(folder)))[:_MOST_COMPARED]
    except (OSError, ToolError):
        return ""
    name = wanted.relative_to(folder).parts[0] if wanted != folder else wanted.name
    by_lower = {each.lower(): each for each in found}
    close = [by_lower[each] for each in difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.5)]
    close += [each for each in found if Path(each).stem == Path(name).stem and each not in close]
    shown = ", ".join(quoted(str(folder / each)) for each in close[:3])
    return f"; there is {shown}" if shown else "; use glob to find it"


def _names(workspace: Path, real: Path, behind_folders: str = "") -> list[str]:
    folder = _walk(workspace, real)
    try:
        with os.scandir(folder) as found:
            return sorted(each.name + (behind_folders if each.is_dir(follow_symlinks=False) else "") for each in found)
    finally:
        os.close(folder)


@contextlib.contextmanager
def _parent(workspace: Path, path: str, *, make: bool = False) -> Generator[tuple[int, str]]:
    """Open the folder that holds a file; yield its descriptor and the file's name there."""
    folder, name = _open_parent(workspace, path, make=make)
    try:
        yield folder, name
    finally:
        os.close(folder)


def _open_parent(workspace: Path, path: str, *, make: bool) -> tuple[int, str]:
    for _ in range(_TRIES):
        real = inside(workspace, path)
        if real == workspace.resolve():
            raise ToolError(f"{quoted(path)} is a folder; use list_directory")
        try:
            return _walk(workspace, real.parent, make=make), real.name
        except OSError as exc:
            if exc.errno not in _EXCHANGED:
                with _told(workspace, path):
                    raise
    raise ToolError(f"{quoted(path)}: a part of the path is no folder{near_names(workspace, path)}")


def _walk(workspace: Path, real: Path, *, make: bool = False) -> int:
    """Return a descriptor of a resolved folder, reached from the workspace without following any link."""
    root = workspace.resolve()
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in real.relative_to(root).parts:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, dir_fd=folder)
            below = os.open(part, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = below
    except BaseException:
        os.close(folder)
        raise
    return folder


def _open_regular(folder: int, name: str, path: str, flags: int) -> int:
    if _regular_status(folder, name, path) is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    file = os.open(name, flags | _FILE, dir_fd=folder)
    try:
        _check_kind(os.fstat(file), path)
    except BaseException:
        os.close(file)
        raise
    return file


def _regular_status(folder: int, name: str, path: str) -> os.stat_result | None:
    """Return the status of a regular file, or None where there is nothing."""
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(found.st_mode):  # the path was resolved: it dangles, forms a loop, or was exchanged just now
        raise ToolError(f"{quoted(path)} is a link that leads nowhere or was exchanged just now")
    _check_kind(found, path)
    return found


def _check_kind(found: os.stat_result, path: str) -> None:
    for is_kind, what in _KINDS:
        if is_kind(found.st_mode):
            raise ToolError(f"{quoted(path)} is {what}")


def _version(found: os.stat_result | None) -> tuple[int, ...] | None:
    return None if found is None else (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def _rename_over(folder: int, name: str, data: bytes, before: os.stat_result | None) -> None:
    temporary = f".{secrets.token_hex(8)}.tmp"
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FILE, 0o666, dir_fd=folder)
    try:
        with os.fdopen(file, "wb") as writer:
            writer.write(data)
            writer.flush()
            if before is not None:
                _keep_attributes(writer.fileno(), folder, name, before)
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        os.unlink(temporary, dir_fd=folder)
        raise


def _keep_attributes(file: int, folder: int, name: str, before: os.stat_result) -> None:
    """Give a new file the owner, mode and extended attributes of the one it replaces, as far as that is permitted."""
    with contextlib.suppress(OSError):
        os.fchown(file, before.st_uid, before.st_gid)
    os.fchmod(file, stat.S_IMODE(before.st_mode))
    if not hasattr(os, "listxattr"):
        return
    with contextlib.suppress(OSError):
        old = os.open(name, os.O_RDONLY | _FILE, dir_fd=folder)
        try:
            for attribute in os.listxattr(old):
                os.setxattr(file, attribute, os.getxattr(old, attribute))
        finally:
            os.close(old)


def _write_in_place(folder: int, name: str, path: str, data: bytes, before: os.stat_result) -> None:
    file = _open_regular(folder, name, path, os.O_WRONLY)
    with os.fdopen(file, "wb", buffering=0) as writer:
        if len(data) > before.st_size and hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(writer.fileno(), 0, len(data))
            except OSError:
                os.ftruncate(writer.fileno(), before.st_size)
                raise
        rest = memoryview(data)
        while rest:
            rest = rest[writer.write(rest) :]
        os.ftruncate(writer.fileno(), len(data))


@contextlib.contextmanager
def _told(workspace: Path, path: str) -> Generator[None]:
    """Turn an error of the operating system into one for the model, with names that are near."""
    try:
        yield
    except OSError as exc:
        hint = near_names(workspace, path) if exc.errno in (errno.ENOENT, errno.ENOTDIR) else ""
        raise ToolError(f"{quoted(path)}: {exc.strerror or exc}{hint}") from exc
