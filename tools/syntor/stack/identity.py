"""Identifies recorded processes by process id and start time, because process ids are reused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

_STAT_STATE, _STAT_START = 0, 19  # fields 3 and 22 of /proc/<pid>/stat, counted after the command's closing bracket


def started_mark(pid: int) -> str:
    """Return a text that identifies the current process of an id, or an empty one when no such process runs."""
    if sys.platform == "linux":
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            if fields[_STAT_STATE] in "ZX":
                return ""
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except (OSError, IndexError):
            return ""
        return f"{boot[:8]}:{fields[_STAT_START]}"
    listed = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return listed.stdout.strip()


def is_alive(pid: int, mark: str) -> bool:
    """Return whether the process recorded with `mark` still runs."""
    return pid > 0 and bool(mark) and started_mark(pid) == mark


def kill_group(pid: int, mark: str, number: int = signal.SIGKILL) -> bool:
    """Signal the process group a recorded process leads; False when that process has exited."""
    if not is_alive(pid, mark):
        return False
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def wait_gone(pid: int, mark: str, timeout_s: float) -> bool:
    """Wait until the recorded process has exited; False when it still runs after `timeout_s`. Blocks."""
    deadline = time.monotonic() + timeout_s
    while is_alive(pid, mark):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
