"""Bounds and ends a program: processes, memory, disk, output and time, and the killing of all it started."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import os
import resource
import shutil
import signal
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

MAX_PROCESSES = 512
_KILL_WAIT_S = 2.0
_CHUNK_BYTES = 65536
_MAX_ERROR_BYTES = 8192
_COUNT_INTERVAL_S = 0.1
_USAGE_INTERVAL_S = 0.5
_MIN_FREE_BYTES = 256 * 1024**2  # of the disk with the workspace: a program that takes more is killed
_PAGE_BYTES = resource.getpagesize()
MAX_MEMORY_BYTES = min(8 * 1024**3, os.sysconf("SC_PHYS_PAGES") * _PAGE_BYTES * 3 // 4)  # of a program, all together
_MAX_CORES = 8  # processor seconds a process may use per second of its time limit
_PR_SET_PDEATHSIG = 1  # prctl(2)
_LIBC: ctypes.CDLL | None = ctypes.CDLL(None) if sys.platform == "linux" else None
_LIMITS = (
    (resource.RLIMIT_DATA, MAX_MEMORY_BYTES),  # of each process; what is reserved and not written does not count
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
) -> Finished:
    """Run a program in a session of its own, and kill that session when its time is up.

    Raises:
        OSError: it cannot be started.
    """
    process = await _start(argv, cwd, env, cpu_s=timeout_s * _MAX_CORES)
    output = BoundedOutput(max_output_bytes)
    reading = asyncio.create_task(_read(process, output))
    watching = asyncio.create_task(_watch(process.pid, cwd))
    timed_out = False
    try:
        await asyncio.wait_for(asyncio.shield(reading), timeout_s)
    except TimeoutError:
        timed_out = True
    finally:
        await _kill_session(process, reading)
        _note_kill(watching, output)
    return Finished(process.returncode or 0, output.text(), output.truncated, timed_out)


class Running:
    """A program that runs until it ends or is killed, and whose newest output is kept."""

    def __init__(self, process: asyncio.subprocess.Process, workspace: Path, max_output_bytes: int) -> None:
        self._process = process
        self._limit = max_output_bytes
        self._output = BoundedOutput(max_output_bytes)
        self._news = asyncio.Event()
        self._watching = asyncio.create_task(_watch(process.pid, workspace))
        self._reading = asyncio.create_task(self._read())
        self.ended = asyncio.Event()
        """Set once it has ended."""

    @property
    def code(self) -> int:
        """Exit code; negative: the signal that ended it."""
        return self._process.returncode or 0

    async def wait_for_output(self, timeout_s: float) -> None:
        """Wait until there is output that was not taken, or the program has ended."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._news.wait()

    def take_output(self) -> str:
        """Return what was written since the last call; cut in the middle beyond the limit."""
        text, self._output = self._output.text(), BoundedOutput(self._limit)
        if not self.ended.is_set():
            self._news.clear()
        return text

    async def kill(self) -> None:
        """Kill the program and everything it started; nothing where it has ended."""
        await _kill_session(self._process, self._reading)
        self._end()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            while chunk := await self._process.stdout.read(_CHUNK_BYTES):
                self._output.add(chunk)
                self._news.set()
            await self._process.wait()
        finally:
            self._end()

    def _end(self) -> None:
        _note_kill(self._watching, self._output)
        self.ended.set()
        self._news.set()


async def start(argv: list[str], *, cwd: Path, env: Mapping[str, str], max_output_bytes: int) -> Running:
    """Start a program in a session of its own that runs until it ends or is killed.

    Raises:
        OSError: it cannot be started.
    """
    return Running(await _start(argv, cwd, env), cwd, max_output_bytes)


def _note_kill(watching: asyncio.Task[str], output: BoundedOutput) -> None:
    """End the watch over a program, and add to its output why the watch killed it."""
    if watching.done() and not watching.cancelled() and watching.exception() is None:
        output.add(f"\nkilled: {watching.result()}\n".encode())
    watching.cancel()


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
    process = await _start(argv, cwd, env, stderr=asyncio.subprocess.PIPE, cpu_s=timeout_s * _MAX_CORES)
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
    argv: list[str],
    cwd: Path,
    env: Mapping[str, str],
    *,
    stderr: int = asyncio.subprocess.STDOUT,
    cpu_s: float | None = None,
) -> asyncio.subprocess.Process:
    """Start a program; `cpu_s` bounds the processor time of each of its processes."""
    return await asyncio.create_subprocess_exec(
        *argv,
        cwd=cwd,
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr,
        start_new_session=True,
        preexec_fn=functools.partial(_set_limits, cpu_s),
    )


def _set_limits(cpu_s: float | None) -> None:
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # no program outlives the agent's process
    limits = [*_LIMITS, *([(resource.RLIMIT_CPU, int(cpu_s) + 1)] if cpu_s else [])]
    for what, most in limits:
        _, hard = resource.getrlimit(what)
        bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (bound, bound))
    if os.getuid() != 0:  # the kernel counts all processes of the user, so the limit is added to those running
        _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
        running = sum(1 for entry in os.scandir("/proc") if entry.name.isdigit())
        bound = running + MAX_PROCESSES
        resource.setrlimit(resource.RLIMIT_NPROC, (bound if hard == resource.RLIM_INFINITY else min(bound, hard), hard))


async def _watch(pid: int, workspace: Path) -> str:
    """Kill a program that has too many processes, or takes too much memory or disk; return which.

    Limits of the kernel hold for one process, and not all of them bind root.
    """
    free_before = shutil.disk_usage(workspace).free
    checks = 0
    while True:
        await asyncio.sleep(_COUNT_INTERVAL_S)
        checks += 1
        many = sum(1 for name in os.listdir("/proc") if name.isdigit()) > MAX_PROCESSES
        if not many and checks % round(_USAGE_INTERVAL_S / _COUNT_INTERVAL_S):
            continue
        count, memory_bytes = await asyncio.to_thread(_usage, pid)
        reason = ""
        if count > MAX_PROCESSES:
            reason = f"more than {MAX_PROCESSES} processes"
        elif memory_bytes > MAX_MEMORY_BYTES:
            reason = f"more than {MAX_MEMORY_BYTES // 1024**2} MiB of memory"
        elif shutil.disk_usage(workspace).free < _MIN_FREE_BYTES < free_before:
            reason = f"less than {_MIN_FREE_BYTES // 1024**2} MiB of disk were left"
        if reason:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            return reason


def _usage(pid: int) -> tuple[int, int]:
    """Return number and memory in bytes of a program's processes: its descendants, and its session's."""
    children: dict[int, list[int]] = defaultdict(list)
    memory: dict[int, int] = {}
    members = {pid}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = Path(f"/proc/{name}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        except OSError:
            continue
        children[int(fields[1])].append(int(name))
        memory[int(name)] = int(fields[21]) * _PAGE_BYTES
        if int(fields[3]) == pid:
            members.add(int(name))
    waiting = list(members)
    while waiting:
        for child in children[waiting.pop()]:
            if child not in members:
                members.add(child)
                waiting.append(child)
    return len(members), sum(memory.get(member, 0) for member in members)


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
