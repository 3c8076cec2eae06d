"""Notices that nats-server cannot write its store any more although the disk has room again.

After a write fails (no space, a disk that became read-only) nats-server refuses every further message of that stream
until it is restarted. It logs each refusal, so the log of the server tells; whether the disk is writable is tried.
"""

from __future__ import annotations

import os
from pathlib import Path

from syntor.runtime.disk import RESERVE_BYTES

CHECK_EVERY_S = 1.0
MIN_FREE_BYTES = RESERVE_BYTES
_PROBE_BYTES = 64 * 1024
_READ_BYTES = 256 * 1024
_CAUSES = (b"no space left on device", b"read-only file system", b"disk quota exceeded")


class StoreWatch:
    """Watches the log of one nats-server and the disk of its store."""

    def __init__(self, log: Path, store: Path) -> None:
        self._log = log
        self._store = store
        self._seen = log.stat().st_size if log.exists() else 0

    def needs_restart(self) -> bool:
        """Return whether the server refused a message since the last call, and the disk takes data."""
        return self._refused() and self._is_writable()

    def _refused(self) -> bool:
        try:
            with self._log.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                start = self._seen if self._seen <= size else 0  # it was rotated
                file.seek(max(start, size - _READ_BYTES))
                new = file.read()
        except OSError:
            return False
        self._seen = size
        return any(cause in line for line in new.lower().splitlines() for cause in _CAUSES)

    def _is_writable(self) -> bool:
        probe = self._store / ".writable"
        try:
            free = os.statvfs(self._store)
            if free.f_bavail * free.f_frsize < MIN_FREE_BYTES:
                return False
            with probe.open("wb") as file:
                file.write(bytes(_PROBE_BYTES))
                file.flush()
                os.fsync(file.fileno())
            probe.unlink()
        except OSError:
            return False
        return True
