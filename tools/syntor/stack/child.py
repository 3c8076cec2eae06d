"""Supervises one process: starts it, probes its readiness, restarts it when it exits."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from syntor.stack import probe
from syntor.stack.identity import started_mark
from syntor.stack.log_file import open_log, size_of, tail
from syntor.stack.port import LOOPBACK
from syntor.stack.spawn import Launch, describe_exit, exited, signal_group, spawn
from syntor.stack.state import ServiceState

FIRST_DELAY_S = 0.1
MAX_DELAY_S = 10.0
HEALTHY_S = 2.0  # a process that ran this long restarts after the first delay
PROBE_TIMEOUT_S = 3.0  # above the 2 s timeout of a service's own checks
_PROBE_EVERY_S = (0.05, 0.25)  # first and longest pause between probes of a starting process


class Child:
    """One supervised process.

    Attributes:
        state: its row in the state file; changed in place, `changed` is called after each change.
        ready: set while the process returns 200 on its health address.
    """

    def __init__(
        self,
        name: str,
        launch: Callable[[], Launch],
        log: Path,
        *,
        changed: Callable[[], None],
        on_exit: Callable[[Child, int], None],
    ) -> None:
        self.name = name
        self.log = log
        self.state = ServiceState(name=name)
        self.ready = asyncio.Event()
        self._launch = launch
        self._changed = changed
        self._on_exit = on_exit
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self._path = ""
        self._server_name = ""
        self._stopping = asyncio.Event()
        self._restart_requested = False
        self._log_start = 0

    @property
    def port(self) -> int:
        """Port of its health address; 0: it was not started yet."""
        return self._port

    def last_log_lines(self, lines: int) -> list[str]:
        """Return the last lines the process has logged since its last start."""
        return tail(self.log, lines, self._log_start)

    async def supervise(self) -> None:
        """Run the process until `stop` is called, restarting it each time it exits."""
        delay_s = FIRST_DELAY_S
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            began = loop.time()
            code = await self._run_once()
            if self._stopping.is_set():
                break
            if loop.time() - began >= HEALTHY_S or self._restart_requested:
                delay_s = FIRST_DELAY_S
            self.state.restarts += 1
            self._set("restarting", describe_exit(code))
            if not self._restart_requested:
                self._on_exit(self, code)
                await _wait(self._stopping, delay_s)
                delay_s = min(delay_s * 2, MAX_DELAY_S)
            self._restart_requested = False
        self._set("stopped")

    async def stop(self, timeout_s: float) -> None:
        """Stop the process without a restart: SIGTERM, and SIGKILL after `timeout_s`."""
        self._stopping.set()
        if self._process is not None and self._process.poll() is None:
            self._set("stopping")
            await self._terminate(self._process, timeout_s)

    async def restart(self, timeout_s: float) -> None:
        """Stop the process so that `supervise` restarts it immediately."""
        if self._process is not None and self._process.poll() is None:
            self._restart_requested = True
            await self._terminate(self._process, timeout_s)

    def kill(self) -> None:
        """Kill the process without a restart."""
        self._stopping.set()
        if self._process is not None:
            signal_group(self._process, signal.SIGKILL)

    async def probe(self) -> None:
        """Probe the health address of a running process and store the result."""
        if self.state.state not in ("ready", "not ready") or not self._port:
            return
        problem = await self._problem()
        if self.state.state in ("ready", "not ready"):
            self._set("not ready" if problem else "ready", problem)

    async def _run_once(self) -> int:
        """Start the process once and wait until it exits; return its exit code."""
        self._log_start = size_of(self.log)
        argv = [self.name]
        try:
            launch = self._launch()
            argv = launch.argv
            self._process = spawn(launch, self.log)
        except OSError as exc:
            with contextlib.suppress(OSError), os.fdopen(open_log(self.log), "a") as file:
                file.write(f"cannot start {' '.join(argv)}: {exc}\n")
            return 127
        self._port, self._path, self._server_name = launch.health_port, launch.health_path, launch.server_name
        self.state.pid = self._process.pid
        self.state.mark = started_mark(self._process.pid)
        self.state.health_url = f"http://{LOOPBACK}:{self._port}{self._path}" if self._port else ""
        self._set("starting")
        watching = asyncio.create_task(self._watch_ready())
        try:
            return await exited(self._process)
        finally:
            watching.cancel()
            self.ready.clear()
            self.state.pid = 0
            self.state.mark = ""

    async def _watch_ready(self) -> None:
        """Probe the health address until the process returns 200 there."""
        pause_s, longest_s = _PROBE_EVERY_S
        while True:
            self.state.detail = await self._problem()
            if not self.state.detail:
                break
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.2, longest_s)
        self._set("ready")
        self.ready.set()

    async def _problem(self) -> str:
        """Return why the process is not ready; empty: it is. What another program says on its port does not count."""
        answer = await probe.get(LOOPBACK, self._port, self._path, PROBE_TIMEOUT_S)
        if answer.status != 200:
            return probe.failing_checks(answer.body)
        if self._server_name:
            varz = await probe.get(LOOPBACK, self._port, "/varz", PROBE_TIMEOUT_S)
            ours = f'"server_name": "{self._server_name}"' in varz.body
        else:
            ours = self._process is not None and answer.pid == self._process.pid
        return "" if ours else f"another program responds on its port {self._port}"

    async def _terminate(self, process: subprocess.Popen[bytes], timeout_s: float) -> None:
        process.terminate()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(exited(process), timeout_s)
        signal_group(process, signal.SIGKILL)

    def _set(self, state: str, detail: str = "") -> None:
        if (self.state.state, self.state.detail) != (state, detail):
            self.state.state, self.state.detail = state, detail
            self._changed()


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), timeout_s)
    except TimeoutError:
        return
