"""nats-py's client with its known ways to die closed, and a dispatch without a queue or a task per message.

Three behaviours of nats-py 2.16 are replaced (each has a test): a PONG for a cancelled flush or an error callback that
raises ends the read loop while the client says it is connected; a callback that raises does the same.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import msgspec

# nats-py imports aiohttp, when installed, for WebSocket transport: 20 MB in every process that never uses it.
_aiohttp_was_loaded = "aiohttp" in sys.modules
if not _aiohttp_was_loaded:
    sys.modules["aiohttp"] = None  # type: ignore[assignment]
from nats.aio.client import Client  # noqa: E402

if not _aiohttp_was_loaded:
    del sys.modules["aiohttp"]


class Message(msgspec.Struct):
    """A message as it came from the server."""

    subject: str
    payload: bytes
    reply: str
    headers: dict[str, str] | None

    @property
    def status(self) -> str:
        """Status code of a control message of the server (`503`, `408`, ...), empty for an ordinary message."""
        return self.headers.get("Status", "") if self.headers else ""


Callback = Callable[[Message], None]
"""Called inside the read loop: must be quick and must not block."""


def parse_headers(block: bytes) -> dict[str, str]:
    """Read a header block; an inline status becomes the headers `Status` and `Description`."""
    lines = block.decode("utf-8", "replace").split("\r\n")
    headers: dict[str, str] = {}
    status = lines[0][8:].strip()  # after "NATS/1.0"
    if status:
        headers["Status"], _, description = status.partition(" ")
        headers["Description"] = description
    for line in lines[1:]:
        name, separator, value = line.partition(":")
        if separator:
            headers[name] = value.strip()
    return headers


class HardenedClient(Client):
    """A client whose read loop survives late PONGs and raising callbacks."""

    def __init__(self) -> None:
        super().__init__()
        self.direct: dict[int, Callback] = {}
        """Callbacks by subscription id; these messages bypass nats-py's queues."""
        self.on_callback_error: Callable[[Exception], None] = lambda _: None

    async def _process_pong(self) -> None:
        if self._pongs:
            future = self._pongs.pop(0)
            if not future.done():  # upstream sets it unconditionally: a cancelled flush would end the read loop
                future.set_result(True)
            self._pongs_received += 1
            self._pings_outstanding = 0

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        callback = self.direct.get(sid)
        try:
            if callback is None:
                await super()._process_msg(sid, subject, reply, data, headers)
            else:
                parsed = parse_headers(headers) if headers else None
                callback(Message(subject.decode(), bytes(data), reply.decode() if reply else "", parsed))
        except Exception as exc:  # noqa: BLE001 - the frame is consumed: one bad message must not end the read loop
            self.on_callback_error(exc)

    def reading_stopped(self) -> bool:
        """Tell whether the read loop ended although the client believes it is connected."""
        task: Any = self._reading_task
        return self.is_connected and task is not None and task.done()
