"""An MCP server that is a process: untrusted, with a clean environment, bounded lines, messages and error output.

The library's own transport keeps a line of any length in memory and passes standard error on; this one ends a server
that floods, and keeps the beginning of its error output in a file.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

import anyio
import mcp_types as types
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage

from syntor.contracts.bounds import well_formed
from syntor.contracts.visible_text import visible_line
from syntor.runtime.private_files import make_private_folder, private
from syntor.runtime.telemetry import get_logger

MAX_LINE_BYTES = 16 * 1024 * 1024  # one message; results are cut to what a model gets afterwards
MAX_OBJECTS = 20_000  # of one message: more would keep the event loop busy
MAX_MESSAGES, MESSAGES_WINDOW_S = 2000, 5.0  # beyond this a server floods
MAX_GARBAGE = 50  # lines that are no messages before a server is cut off
MAX_ERROR_BYTES = 256 * 1024  # kept of its standard error
INHERITED = ("HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "LANG", "LC_ALL", "TMPDIR", "TZ")
"""Variables a server gets besides those configured for it: none of Syntor's, no credentials."""
_STOP_S = 2.0  # from the end of its input to SIGTERM, and from there to SIGKILL

ToSession = MemoryObjectSendStream[SessionMessage | Exception]
FromSession = MemoryObjectReceiveStream[SessionMessage]
Streams = tuple[MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]]


def clean_environment(environ: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a server."""
    return {name: environ[name] for name in INHERITED if name in environ} | dict(own)


class ServerProcess:
    """One process; `streams` starts and ends it."""

    def __init__(
        self, argv: list[str], environ: Mapping[str, str], folder: Path | None, error_file: Path, name: str
    ) -> None:
        self._argv = argv
        self._environ = dict(environ)
        self._folder = folder
        self._error_file = error_file
        self._name = name
        self._last_error = ""
        self.ended = asyncio.Event()
        """Set once nothing more comes from the server."""
        self.cut_off = ""
        """Why the server was ended; empty: it was not."""

    @property
    def last_words(self) -> str:
        """The last line of its error output, bounded; for people, who see it with nothing hidden."""
        return visible_line(self._last_error, 300)

    @asynccontextmanager
    async def streams(self) -> AsyncGenerator[Streams, None]:
        """Start the process and return the streams of its messages; at the end it and its children are ended.

        Raises:
            OSError: it cannot be started.
            ValueError: an argument or variable cannot be passed to a process.
        """
        process = await asyncio.create_subprocess_exec(
            *self._argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environ,
            cwd=self._folder,
            start_new_session=True,
            limit=MAX_LINE_BYTES,
        )
        to_session, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        outgoing, from_session = anyio.create_memory_object_stream[SessionMessage](0)
        pumps = [
            asyncio.create_task(self._read_to_end(process, to_session)),
            asyncio.create_task(self._write(process, from_session, to_session)),
            asyncio.create_task(self._keep_errors(process)),
        ]
        try:
            yield incoming, outgoing
        finally:
            outgoing.close()
            incoming.close()
            ending = asyncio.create_task(_end(process, pumps))
            while not ending.done():  # a process is not left behind because its task is cancelled
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.shield(ending)

    async def _read_to_end(self, process: asyncio.subprocess.Process, to_session: ToSession) -> None:
        try:
            await self._read(process, to_session)
        finally:
            self.ended.set()

    async def _read(self, process: asyncio.subprocess.Process, to_session: ToSession) -> None:
        """Pass on what the server writes until it ends or breaks a bound; the session sees a closed connection then."""
        assert process.stdout is not None
        garbage, window, count = 0, time.monotonic(), 0
        with to_session:
            while not self.cut_off:
                try:
                    line = await process.stdout.readuntil(b"\n")
                except asyncio.IncompleteReadError:
                    return
                except asyncio.LimitOverrunError:
                    self._cut_off(process, f"it sent a line of more than {MAX_LINE_BYTES // 2**20} MiB")
                    return
                count += 1
                if (at := time.monotonic()) - window > MESSAGES_WINDOW_S:
                    window, count = at, 1
                if count > MAX_MESSAGES:
                    self._cut_off(process, f"it sent more than {MAX_MESSAGES} messages in {MESSAGES_WINDOW_S:g} s")
                    return
                if line.count(b"{") > MAX_OBJECTS:
                    self._cut_off(process, f"it sent a message of more than {MAX_OBJECTS} objects")
                    return
                message = _parsed(line)
                if message is None:
                    garbage += 1 if line.strip() else 0
                    if garbage > MAX_GARBAGE:
                        self._cut_off(process, f"it sent {garbage} lines that are no messages of the protocol")
                    continue
                try:
                    await to_session.send(SessionMessage(message))
                except (anyio.ClosedResourceError, anyio.BrokenResourceError):
                    return

    async def _write(
        self, process: asyncio.subprocess.Process, from_session: FromSession, to_session: ToSession
    ) -> None:
        assert process.stdin is not None
        try:
            async with from_session:
                async for message in from_session:
                    text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                    process.stdin.write(f"{text}\n".encode())
                    await process.stdin.drain()
        except (OSError, anyio.ClosedResourceError, anyio.BrokenResourceError):
            to_session.close()  # requests in progress learn that there is no response

    async def _keep_errors(self, process: asyncio.subprocess.Process) -> None:
        """Keep the beginning of the error output in a file, and its last line; all is read, so a server can write."""
        assert process.stderr is not None
        left, file = MAX_ERROR_BYTES, _opened(self._error_file)
        with file or contextlib.nullcontext():
            while piece := await process.stderr.read(65536):
                lines = piece.decode("utf-8", "replace").strip().splitlines()
                self._last_error = lines[-1] if lines else self._last_error
                if file is not None and left > 0:
                    with contextlib.suppress(OSError):
                        file.write(piece[:left])
                    left -= len(piece)
                    if left <= 0:
                        with contextlib.suppress(OSError):
                            file.write(b"\n(more is not kept)\n")

    def _cut_off(self, process: asyncio.subprocess.Process, why: str) -> None:
        self.cut_off = why
        _signal(process, signal.SIGKILL)
        get_logger().warning("mcp_server_cut_off", server=self._name, reason=why)


def _parsed(line: bytes) -> types.JSONRPCMessage | None:
    """Return a message, with what is not Unicode in it replaced; None: it is none."""
    try:
        return types.jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValueError:
        pass
    try:
        text = json.dumps(json.loads(line.decode("utf-8", "replace")), ensure_ascii=False)
        return types.jsonrpc_message_adapter.validate_json(well_formed(text), by_name=False)
    except (ValueError, RecursionError):
        return None


def _opened(path: Path) -> IO[bytes] | None:
    """Return a new file of the owner, or None where it cannot be written."""
    try:
        make_private_folder(path.parent.parent)
        make_private_folder(path.parent)
        return open(path, "wb", buffering=0, opener=private)
    except OSError:
        return None


async def _end(process: asyncio.subprocess.Process, pumps: list[asyncio.Task[None]]) -> None:
    """Close the input, and end the process and its children where that is not enough."""
    assert process.stdin is not None
    process.stdin.close()
    draining = asyncio.create_task(_drain(process))
    for number in (None, signal.SIGTERM, signal.SIGKILL):
        if number is not None:
            _signal(process, number)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(process.wait()), _STOP_S)
        if process.returncode is not None:
            break
    _signal(process, signal.SIGKILL)  # children that outlived it
    for task in (*pumps, draining):
        task.cancel()
    await asyncio.gather(*pumps, draining, return_exceptions=True)
    transport = getattr(process, "_transport", None)  # asyncio has no public way to close pipes a child holds open
    if transport is not None:
        transport.close()


async def _drain(process: asyncio.subprocess.Process) -> None:
    """Discard output, so that a server that is writing comes to its end of input."""
    assert process.stdout is not None
    with contextlib.suppress(OSError, RuntimeError):
        while await process.stdout.read(65536):
            pass


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
