"""Starts processes that cannot outlive the supervisor, and waits for their exit without threads."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from syntor.stack.log_file import open_log

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_POLL_S = 0.1  # where the system has no process descriptors (not Linux)


class Launch(msgspec.Struct, frozen=True):
    """Command line, environment and health address of one start of a process."""

    argv: list[str]
    environ: dict[str, str]
    folder: Path
    """Working directory."""
    health_port: int = 0
    """Loopback port of its health address; 0: it has none."""
    health_path: str = "/readyz"
    server_name: str = ""
    """Name of a nats-server, by which it is known on its health address; empty: it is a service, known by its pid."""
    umask: int = -1
    """File mode mask of the process; -1: that of the supervisor."""


def spawn(launch: Launch, log: Path, *, capture: bool = False) -> subprocess.Popen[bytes]:
    """Start a process in a new session, with its output appended to `log`.

    Args:
        capture: return standard output through a pipe instead of writing it to the log.

    Raises:
        OSError: the program cannot be run.
    """
    descriptor = open_log(log)
    try:
        return subprocess.Popen(
            launch.argv,
            env=launch.environ,
            cwd=launch.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if capture else descriptor,
            stderr=descriptor,
            start_new_session=True,
            umask=launch.umask,
            preexec_fn=_die_with(os.getpid()),  # safe: the supervisor is single-threaded
        )
    finally:
        os.close(descriptor)


async def exited(process: subprocess.Popen[bytes]) -> int:
    """Wait until the process exits; return its exit code, negative for a signal."""
    if sys.platform != "linux":
        while (code := process.poll()) is None:  # noqa: ASYNC110 - no event to wait for
            await asyncio.sleep(_POLL_S)
        return code
    if (code := process.poll()) is not None:
        return code
    loop = asyncio.get_running_loop()
    descriptor = os.pidfd_open(process.pid)
    has_exited = asyncio.Event()
    loop.add_reader(descriptor, has_exited.set)
    try:
        await has_exited.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    return process.wait()


def signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    """Signal the process group of a process; does nothing when it has exited."""
    if process.poll() is None:
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return


def describe_exit(code: int) -> str:
    """Return an exit code as text."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def _die_with(parent: int) -> Callable[[], None] | None:
    """Return a preexec function that makes the kernel kill the child when the supervisor exits."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl

    def request_death_signal() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return request_death_signal
