"""Runs the embedded model server on demand, and streams its status lines to every caller.

One model at a time: a request for another one stops the current one. A status line is one JSON object; the line whose
`state` is `ready` (with address and key) or `failed` (with a message) is the last one a caller gets.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from pathlib import Path

import msgspec

from syntor.contracts.decoding import UNDECODABLE
from syntor.models.catalog import KNOWN_MODELS
from syntor.stack.identity import started_mark
from syntor.stack.log_file import tail
from syntor.stack.services import MODEL_SERVER
from syntor.stack.spawn import Launch, describe_exit, exited, signal_group, spawn
from syntor.stack.state import ServiceState

_LINE_LIMIT_BYTES = 64 * 1024
_STOP_S = 5.0
_KNOWN = tuple(model.name for model in KNOWN_MODELS if model.provider == "embedded")
_THREAD_SPIN_COUNT = "1000"  # libgomp's default busy-waits on cores other processes need


class _Status(msgspec.Struct):
    """The fields of a status line the supervisor reads."""

    state: str = ""
    url: str = ""
    message: str = ""


class _Start:
    """One process of the model server and its followers."""

    def __init__(self, model: str, process: subprocess.Popen[bytes]) -> None:
        self.model = model
        self.process = process
        self.last = b""
        self.final = False
        self.followers: set[asyncio.Queue[bytes]] = set()
        self.reading: asyncio.Task[None] | None = None

    def publish(self, line: bytes, final: bool) -> None:
        if not self.final:
            self.last, self.final = line, final
            for queue in self.followers:
                queue.put_nowait(line)


def _command(model: str, home: Path) -> list[str]:
    program = [sys.executable, "-P", "-m", "syntor.models.embedded_server"]
    return [*program, "--model", model, "--home", str(home), "--fetch"]


class ModelServer:
    """The on-demand service `model-server`.

    Attributes:
        state: its row in the state file.
    """

    def __init__(
        self,
        home: Path,
        log: Path,
        environ: Mapping[str, str],
        changed: Callable[[], None],
        command: Callable[[str, Path], list[str]] = _command,
        known: Collection[str] = _KNOWN,
    ) -> None:
        self.state = ServiceState(name=MODEL_SERVER)
        self._home = home
        self._log = log
        self._environ = dict(environ) | {"GOMP_SPINCOUNT": _THREAD_SPIN_COUNT}
        self._changed = changed
        self._command = command
        self._known = known
        self._start: _Start | None = None
        self._starts = 0
        self._gate = asyncio.Lock()

    async def lines(self, model: str) -> AsyncGenerator[bytes, None]:
        """Yield status lines of the server for `model`, each with its newline, until it is ready or has failed."""
        if model not in self._known:  # the running model is not stopped
            yield _failed(f"no embedded model {model!r}; there are: {', '.join(self._known)}")
            return
        async with self._gate:
            start = await self._started(model)
            queue: asyncio.Queue[bytes] = asyncio.Queue()
            start.followers.add(queue)
            if start.last:
                queue.put_nowait(start.last)
        try:
            while True:
                line = await queue.get()
                yield line
                if _read(line).state in ("ready", "failed"):
                    return
        finally:
            start.followers.discard(queue)

    async def stop(self) -> None:
        """Stop the server if it runs."""
        if self._start is not None:
            await self._terminate(self._start)

    def kill(self) -> None:
        """Kill the server."""
        if self._start is not None:
            signal_group(self._start.process, signal.SIGKILL)

    async def _started(self, model: str) -> _Start:
        """Return the running start of `model`, after stopping another model."""
        current = self._start
        if current is not None and current.process.poll() is None and _read(current.last).state != "failed":
            if current.model == model:
                return current
            await self._terminate(current)
        launch = Launch(self._command(model, self._home), self._environ, self._home)
        process = spawn(launch, self._log, capture=True)
        start = self._start = _Start(model, process)
        self.state.restarts = self._starts
        self._starts += 1
        self.state.pid, self.state.mark = process.pid, started_mark(process.pid)
        self._set("starting", model)
        start.reading = asyncio.create_task(self._follow(start))
        return start

    async def _follow(self, start: _Start) -> None:
        """Read the server's lines until it exits; publish a failure if it was never ready."""
        assert start.process.stdout is not None
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=_LINE_LIMIT_BYTES)
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), start.process.stdout)
        try:
            async for line in reader:
                status = _read(line)
                start.publish(line, status.state in ("ready", "failed"))
                if status.state == "ready":
                    self.state.health_url = f"{status.url.removesuffix('/v1')}/health"
                if status.state in ("ready", "failed"):
                    self._set(status.state, start.model if status.state == "ready" else status.message)
        except ValueError:  # a line over the limit is not a status line
            signal_group(start.process, signal.SIGKILL)
        finally:
            transport.close()
        code = await exited(start.process)
        last_lines = [line for line in tail(self._log, 3) if line.strip()]
        reason = f"model server for {start.model} exited ({describe_exit(code)}): {' / '.join(last_lines)}"
        start.publish(_failed(reason), True)
        if self._start is start:
            self.state.pid, self.state.mark, self.state.health_url = 0, "", ""
            if self.state.state != "failed":
                self._set("failed" if code > 0 else "stopped", reason if code > 0 else "")
            else:
                self._changed()

    async def _terminate(self, start: _Start) -> None:
        start.process.terminate()
        try:
            await asyncio.wait_for(exited(start.process), _STOP_S)
        except TimeoutError:
            signal_group(start.process, signal.SIGKILL)
        if start.reading is not None:
            await start.reading

    def _set(self, state: str, detail: str) -> None:
        self.state.state, self.state.detail = state, detail
        self._changed()


def _failed(message: str) -> bytes:
    return msgspec.json.encode({"state": "failed", "message": message}) + b"\n"


def _read(line: bytes) -> _Status:
    try:
        return msgspec.json.decode(line, type=_Status)
    except UNDECODABLE:
        return _Status()
