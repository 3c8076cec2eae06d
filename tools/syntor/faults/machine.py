"""Faults of the machine under the processes: no CPU left, a memory limit reached, a disk that is full or read-only."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

DISK_BYTES = 512 << 20  # of each small disk; memory is taken for what is written only
_LEFT_BYTES = 256 * 1024  # the process at its memory limit may still take this much
_COMMAND_TIMEOUT_S = 10.0


@contextlib.contextmanager
def starve() -> Generator[None]:
    """Occupy every core with a busy loop."""
    busy = [subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


@contextlib.contextmanager
def stopped(pid: int) -> Generator[None]:
    """Stop a process, such as a supervisor, for a moment."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def limit_memory(pid: int) -> Generator[None]:
    """Refuse a running process any more memory than it has.

    Raises:
        ProcessLookupError: it does not run.
    """
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    except FileNotFoundError as exc:
        raise ProcessLookupError(pid) from exc
    before = resource.prlimit(pid, resource.RLIMIT_AS)
    resource.prlimit(pid, resource.RLIMIT_AS, (pages * resource.getpagesize() + _LEFT_BYTES, before[1]))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_AS, before)


def memory_limits_unavailable() -> str:
    """Return why a running process cannot be limited; empty: it can."""
    return "" if hasattr(resource, "prlimit") and Path("/proc/self/statm").exists() else "needs Linux"


def disks_unavailable() -> str:
    """Return why small disks cannot be mounted; empty: they can."""
    if os.geteuid() != 0:
        return "mounting a small disk needs root"
    with tempfile.TemporaryDirectory() as folder:
        failed = _run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder)
        return failed or _run("umount", folder)


class Disks:
    """Small disks in memory, mounted at folders of a stack before it starts."""

    def __init__(self, folders: dict[str, Path]) -> None:
        """Mount them, outer folders first.

        Args:
            folders: by name, outer ones before those inside them.

        Raises:
            OSError: one cannot be mounted.
        """
        self._folders = folders
        self._mounted: list[Path] = []
        for folder in folders.values():
            folder.mkdir(parents=True, exist_ok=True)
            if failed := _run("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)):
                self.close()
                raise OSError(failed)
            self._mounted.append(folder)

    @contextlib.contextmanager
    def filled(self, name: str) -> Generator[None]:
        """Take all space that is left on a disk."""
        ballast = self._folders[name] / ".ballast"
        try:
            with ballast.open("wb") as file:
                free = os.statvfs(file.fileno())
                with contextlib.suppress(OSError):  # another process took some of it meanwhile: the rest is taken below
                    os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize)
                with contextlib.suppress(OSError):
                    while os.write(file.fileno(), bytes(4096)):
                        pass
            yield
        finally:
            ballast.unlink(missing_ok=True)

    def set_read_only(self, name: str, read_only: bool) -> str:
        """Make a disk read-only or writable; return why it cannot be: files are open for writing."""
        return _run("mount", "-o", f"remount,{'ro' if read_only else 'rw'}", str(self._folders[name]))

    def close(self) -> None:
        """Unmount all, inner ones first."""
        for folder in reversed(self._mounted):
            _run("umount", "--lazy", str(folder))
        self._mounted.clear()


def _run(*command: str) -> str:
    """Run a command and return why it failed; empty: it did not."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as exc:
        return f"{command[0]}: {exc}"
    return (done.stderr.strip() or f"{command[0]} ended with {done.returncode}") if done.returncode else ""
