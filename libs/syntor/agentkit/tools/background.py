"""Commands that run in the background of an agent's process: development servers, watchers, long builds.

A process outlives the call and the run that started it, and ends when it is stopped, after `MAX_AGE_S`, or with the
agent's process. What it writes is kept in a bounded buffer. A handle names the process of one agent process: another
one, or the same after a restart, says that the process is gone.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from pathlib import Path

from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.tools.processes import Running
from syntor.agentkit.tools.sandbox import Sandbox

MAX_RUNNING = 8  # in one workspace
MAX_RUNNING_IN_ALL = 32
MAX_AGE_S = 12 * 3600.0
MAX_LOG_BYTES = 200_000
_KEPT_ENDED = 8  # of one workspace, so that their last output can be read
_FIRST_OUTPUT_S = 1.0
_INSTANCE = secrets.token_hex(2)
_numbers = itertools.count(1)


class BackgroundProcess:
    """One command in the background."""

    def __init__(self, workspace: Path, command: str, running: Running) -> None:
        self.handle = f"bg{next(_numbers)}-{_INSTANCE}"
        self.workspace = workspace
        self.command = command
        self._running = running
        self._started = time.monotonic()
        self._ended_s: float | None = None
        self._limit = asyncio.create_task(self._end_at_last())

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return not self._running.ended.is_set()

    def describe(self) -> str:
        """Return handle, state and command on one line."""
        age_s = time.monotonic() - self._started
        state = f"running for {age_s:.0f} s" if self.is_running else f"ended with exit code {self._running.code}"
        return f"{self.handle} {state}: {self.command.strip().splitlines()[0][:100]}"

    async def read(self, wait_s: float) -> str:
        """Return what it wrote since the last call; waits for output or its end."""
        await self._running.wait_for_output(wait_s)
        return self._running.take_output()

    async def stop(self) -> None:
        """End it and everything it started."""
        await self._running.kill()
        self._limit.cancel()

    async def _end_at_last(self) -> None:
        try:
            async with asyncio.timeout(MAX_AGE_S):
                await self._running.ended.wait()
        except TimeoutError:
            await self._running.kill()


_processes: dict[str, BackgroundProcess] = {}


async def start(sandbox: Sandbox, command: str) -> BackgroundProcess:
    """Start a command and give it a moment for its first output.

    Raises:
        ToolError: too many are running, or it cannot be started.
    """
    workspace = sandbox.workspace
    running = [process for process in _processes.values() if process.is_running]
    here = [process for process in running if process.workspace == workspace]
    if len(here) >= MAX_RUNNING or len(running) >= MAX_RUNNING_IN_ALL:
        raise ToolError(
            f"{len(here)} background processes are running; stop one with process_stop:\n{listing(workspace)}"
        )
    try:
        started = await sandbox.start(["/bin/bash", "-c", command], max_output_bytes=MAX_LOG_BYTES)
    except (OSError, ValueError) as exc:
        raise ToolError(f"bash could not be run: {exc}") from exc
    process = BackgroundProcess(workspace, command, started)
    _processes[process.handle] = process
    ended = [each for each in _processes.values() if each.workspace == workspace and not each.is_running]
    for old in ended[:-_KEPT_ENDED]:
        del _processes[old.handle]
    return process


def find(workspace: Path, handle: str) -> BackgroundProcess:
    """Return a process of a workspace.

    Raises:
        ToolError: there is none of that handle; the text lists those there are.
    """
    process = _processes.get(handle)
    if process is None or process.workspace != workspace:
        raise ToolError(
            f"there is no process {handle!r} here: it is gone if the agent's process was restarted since.\n"
            f"{listing(workspace)}"
        )
    return process


def listing(workspace: Path) -> str:
    """Return the processes of a workspace, one a line."""
    own = [process.describe() for process in _processes.values() if process.workspace == workspace]
    return "\n".join(own) or "no background process was started in this folder"
