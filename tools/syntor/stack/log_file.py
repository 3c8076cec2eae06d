"""Log files of the services: opened for appending, rotated by copy and truncate.

A service writes to the file itself, so its last lines are kept even when the supervisor has exited. Truncation may lose
lines written during the copy, a few milliseconds once every 10 MB.
"""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path

from syntor.runtime.private_files import private

MAX_SIZE_BYTES = 10 * 1024 * 1024
_BLOCK_BYTES = 1024 * 1024
KEPT = 3  # older files: .1 is the newest


def open_log(path: Path) -> int:
    """Return a descriptor that appends to the log file."""
    return private(str(path), os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def rotate(path: Path, max_size_bytes: int = MAX_SIZE_BYTES) -> bool:
    """Keep the file as `<name>.1` and empty it, if it has grown over the size; older ones are renumbered."""
    if size_of(path) <= max_size_bytes:
        return False
    for number in range(KEPT - 1, 0, -1):
        older = path.with_name(f"{path.name}.{number}")
        if older.exists():
            older.replace(path.with_name(f"{path.name}.{number + 1}"))
    newest = path.with_name(f"{path.name}.1")
    with path.open("rb") as source, open(newest, "wb", opener=private) as kept:
        while block := source.read(_BLOCK_BYTES):
            kept.write(block)
    os.truncate(path, 0)
    return True


def size_of(path: Path) -> int:
    """Return the size of a log in bytes; 0 when it does not exist."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def tail(path: Path, lines: int, after: int = 0) -> list[str]:
    """Return the last lines of a log, oldest first; empty when it does not exist.

    Args:
        after: bytes at the start of the log to skip, ending with a line; a log truncated since is read whole.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            start = size - 400 * max(lines, 1) - 4096
            if start <= after <= size:
                file.seek(after)
            elif file.seek(max(0, start)):
                file.readline()
            return [line.decode("utf-8", "replace").rstrip("\n") for line in deque(file, maxlen=lines)]
    except FileNotFoundError:
        return []
