"""Bounds and ends a program: resource limits, the number of its processes, its output, and killing all of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

MAX_PROCESSES = 512
_KILL_WAIT_S = 2.0
_CHUNK_BYTES = 65536
_MAX_ERROR_BYTES = 8192
_COUNT_INTERVAL_S = 0.1
_LIMITS = (
    (resource.RLIMIT_CPU, 600),  # seconds
    (resource.RLIMIT_FSIZE, 2 * 1024**3),
    (resource.RLIMIT_NOFILE, 4096),
    (resource.RLIMIT_CORE, 0),
)


class Finished(msgspec.Struct, frozen=True):
    """How a program ended."""

    code: int
    """Exit code; negative: the signal that ended it."""
    output: str
    """Its output, both streams in order of arrival; cut in the middle beyond the limit."""
    truncated: bool
    timed_out: bool


async def run_bounded(
    argv: list[str],
    *,
    timeout_s: float,
    cwd: Path,
    env: Mapping[str, str],
    max_output_bytes: int,
    own_pid_namespace: bool,
) -> Finished:
    """Run a program in a session of its own, and kill that session when its time is up.

    Args:
        own_pid_namespace: whether the program runs in a process namespace of its own, which is then counted.

    Raises:
        OSError: it cannot be started.
    """
    process = await _start(argv, cwd, env)
    output = BoundedOutput(max_output_bytes)
    reading = asyncio.create_task(_read(process, output))
    counting = asyncio.create_task(_kill_when_too_many(process.pid, own_pid_namespace))
    timed_out = False
    try:
        await asyncio.wait_for(asyncio.shield(reading), timeout_s)
    except TimeoutError:
        timed_out = True
    finally:
        counting.cancel()
        await _kill_session(process, reading)
    if counting.done() and not counting.cancelled():
        output.add(f"\nkilled: more than {MAX_PROCESSES} processes\n".encode())
    return Finished(process.returncode or 0, output.text(), output.truncated, timed_out)


class Captured(msgspec.Struct, frozen=True):
    """What a program wrote, its two streams apart."""

    code: int
    """Exit code; negative: the signal that ended it."""
    output: bytes
    """The beginning of its standard output."""
    errors: str
    """The beginning of its standard error."""
    cut: bool
    """Whether it was killed because it wrote more."""
    timed_out: bool
    """Whether it was killed because its time was up; what it wrote until then is there."""


async def capture(
    argv: list[str], *, timeout_s: float, cwd: Path, env: Mapping[str, str], max_output_bytes: int
) -> Captured:
    """Run a program until it ends, wrote enough, or its time is up.

    Raises:
        OSError: it cannot be started.
    """
    process = await _start(argv, cwd, env, stderr=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    output, errors = bytearray(), bytearray()
    reading = asyncio.create_task(_read_until(process.stdout, output, max_output_bytes))
    reading_errors = asyncio.create_task(_read_until(process.stderr, errors, _MAX_ERROR_BYTES))
    timed_out = cut = False
    try:
        async with asyncio.timeout(timeout_s):
            cut = await asyncio.shield(reading)
            if not cut:
                await process.wait()
    except TimeoutError:
        timed_out = True
    finally:
        await _kill_session(process, reading)
        reading_errors.cancel()
        await asyncio.gather(reading_errors, return_exceptions=True)
    code = process.returncode or 0
    return Captured(code, bytes(output), errors.decode("utf-8", "replace"), cut, timed_out)


async def _read_until(stream: asyncio.StreamReader, output: bytearray, most: int) -> bool:
    """Append what a stream brings; return whether it was more than wanted."""
    while chunk := await stream.read(_CHUNK_BYTES):
        output += chunk[: most - len(output)]
        if len(output) >= most:
            return True
    return False


async def _start(
    argv: list[str], cwd: Path, env: Mapping[str, str], *, stderr: int = asyncio.subprocess.STDOUT
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *argv,
        cwd=cwd,
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr,
        start_new_session=True,
        preexec_fn=_set_limits,
    )


def _set_limits() -> None:
    for what, most in _LIMITS:
        _, hard = resource.getrlimit(what)
        bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (bound, bound))
    if os.getuid() != 0:  # the kernel counts all processes of the user, so the limit is added to those running
        _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
        running = sum(1 for entry in os.scandir("/proc") if entry.name.isdigit())
        bound = running + MAX_PROCESSES
        resource.setrlimit(resource.RLIMIT_NPROC, (bound if hard == resource.RLIM_INFINITY else min(bound, hard), hard))


async def _kill_when_too_many(pid: int, own_pid_namespace: bool) -> None:
    """Kill a program with too many processes, as RLIMIT_NPROC does not bind root; return once it was killed."""
    while True:
        await asyncio.sleep(_COUNT_INTERVAL_S)
        if await asyncio.to_thread(_members, pid, own_pid_namespace) > MAX_PROCESSES:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            return


def _members(pid: int, own_pid_namespace: bool) -> int:
    """Return the number of processes in a program's session or, if it has one, in its process namespace."""
    pids = [entry.name for entry in os.scandir("/proc") if entry.name.isdigit()]
    if len(pids) <= MAX_PROCESSES:
        return 0
    if not own_pid_namespace:
        return sum(1 for other in pids if _session(int(other)) == pid)
    own = _namespace("self")
    return sum(1 for other in pids if _namespace(other) not in ("", own))


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def _namespace(pid: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""


class BoundedOutput:
    """Keeps the beginning and the end of a program's output."""

    def __init__(self, limit: int) -> None:
        self._half = limit // 2
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = 0

    @property
    def truncated(self) -> bool:
        """Whether bytes were left out."""
        return self._dropped > 0

    def add(self, data: bytes) -> None:
        """Append what the program wrote."""
        room = self._half - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        self._tail += data
        if len(self._tail) > self._half:
            over = len(self._tail) - self._half
            del self._tail[:over]
            self._dropped += over

    def text(self) -> str:
        """Return the output, with a note where bytes were left out."""
        middle = f"\n... {self._dropped} bytes were left out ...\n".encode() if self._dropped else b""
        return (bytes(self._head) + middle + bytes(self._tail)).decode("utf-8", "replace")


async def _read(process: asyncio.subprocess.Process, output: BoundedOutput) -> None:
    assert process.stdout is not None
    while chunk := await process.stdout.read(_CHUNK_BYTES):
        output.add(chunk)
    await process.wait()


async def _kill_session(process: asyncio.subprocess.Process, reading: asyncio.Task[Any]) -> None:
    """Kill what remains of the program's session, and wait for its end."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), _KILL_WAIT_S)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
