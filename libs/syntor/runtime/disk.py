"""Whether the log's disk has room, where the log is on this machine."""

from __future__ import annotations

import os

RESERVE_BYTES = 16 * 1024 * 1024  # two of nats-server's blocks; it stops storing at the first write that fails


def no_room(folder: str) -> str:
    """Return why nothing should be written to a folder; empty: it has room, or cannot be examined."""
    try:
        status = os.statvfs(folder)
    except OSError:
        return ""
    if status.f_flag & os.ST_RDONLY:
        return f"{folder} is on a read-only file system"
    free = status.f_bavail * status.f_frsize
    if free < RESERVE_BYTES:
        return f"the disk of {folder} is full: {free / 1e6:.1f} MB are free, {RESERVE_BYTES / 1e6:.1f} MB are needed"
    if status.f_files and not status.f_favail:
        return f"the disk of {folder} is full: it has no free inodes"
    return ""
