"""nats-py's client with its known ways to die closed, and a dispatch without a queue or a task per message.

Behaviours of nats-py 2.16 that are replaced (each has a test): a PONG for a cancelled flush, a callback that raises and
an error callback that raises each end the read loop while the client says it is connected; a reconnect and a close wait
for a peer that takes no more bytes; a PING overtakes what was published before it, so that a flush proves nothing.
Publishing builds its header block in one go: half the cost of the library's way.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast

import msgspec
import nats.errors
from nats.aio.client import Client
from nats.aio.subscription import Subscription

_LINE_BREAKS = str.maketrans("\r\n", "  ")
_log = logging.getLogger("syntor.jetstream")


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


def build_headers(headers: dict[str, str]) -> bytes:
    """Return the header block; a line break inside a value becomes spaces."""
    lines = [f"{name}: {value.translate(_LINE_BREAKS)}\r\n" for name, value in headers.items()]
    return f"NATS/1.0\r\n{''.join(lines)}\r\n".encode("utf-8", "replace")


class HardenedClient(Client):
    """A client whose read loop survives late PONGs and raising callbacks, and which never waits for a frozen peer."""

    def __init__(self) -> None:
        super().__init__()
        self.direct: dict[int, Callback] = {}
        """Callbacks by subscription id; these messages bypass nats-py's queues."""

    @property
    def wants_credentials(self) -> bool:
        """Whether the server that answered last asked for credentials."""
        info: dict[str, Any] = self._server_info or {}
        return bool(info.get("auth_required"))

    async def open(self, on_error: Callable[[Exception], Awaitable[None]], **options: Any) -> None:
        """Connect; `options` are those of the library's `connect`; an error callback that raises is logged."""

        async def guarded(exc: Exception) -> None:
            try:
                await on_error(exc)
            except Exception as raised:  # noqa: BLE001 - it runs in the read loop, which must go on
                _log.error("error callback failed", exc_info=raised)

        await self.connect(error_cb=guarded, **options)

    def reconnect_from_now_on(self) -> None:
        """Let a client opened with `allow_reconnect=False` reconnect whenever its connection breaks."""
        self.options["allow_reconnect"] = True

    async def subscribe_direct(self, subject: str, callback: Callback, queue: str = "") -> tuple[int, Subscription]:
        """Subscribe with a callback that runs inside the read loop; return the id, too."""
        sid = self._sid + 1  # the id `subscribe` takes before it first waits: no message can come before the callback
        self.direct[sid] = callback
        return sid, await self.subscribe(subject, queue=queue)  # pyright: ignore[reportUnknownMemberType]

    def abort(self) -> None:
        """Drop the socket with whatever was not sent: closing it in order waits for a peer that may be frozen.

        The library must not wait for its end either: after a TLS handshake that failed that end is never told.
        """
        transport: Any = self._transport
        writer = getattr(transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()
            transport._io_writer = None

    def reading_stopped(self) -> bool:
        """Tell whether the read loop ended although the client believes it is connected."""
        task = cast("asyncio.Task[None] | None", self._reading_task)  # pyright: ignore[reportUnknownMemberType]
        return self.is_connected and task is not None and task.done()

    async def close(self) -> None:
        """Close without what was not sent yet; flush before where that matters."""
        self._pending = []
        self._pending_data_size = 0
        self.abort()
        await super().close()

    async def _attempt_reconnect(self) -> None:
        self.abort()
        await super()._attempt_reconnect()

    async def ping(self, answered: asyncio.Future[Any]) -> None:
        """Ask the server for a sign of life; it comes after it has taken everything published before."""
        await self._send_ping(answered)

    async def _send_ping(self, future: asyncio.Future[Any] | None = None) -> None:
        pongs = cast("list[asyncio.Future[object]]", self._pongs)  # pyright: ignore[reportUnknownMemberType]
        pongs.append(asyncio.get_running_loop().create_future() if future is None else future)
        await self._send_command(b"PING\r\n")  # upstream writes it past what waits to be sent: a flush proved nothing
        await self._flush_pending()

    async def _process_pong(self) -> None:
        pongs = cast("list[asyncio.Future[object]]", self._pongs)  # pyright: ignore[reportUnknownMemberType]
        if pongs:
            future = pongs.pop(0)
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
            _log.error("callback failed", exc_info=exc)

    async def _send_publish(
        self, subject: str, reply: str, payload: bytes, payload_size: int, headers: dict[str, Any] | None
    ) -> None:
        self.stats["out_msgs"] += 1
        self.stats["out_bytes"] += payload_size
        if headers:
            block = build_headers(headers)
            size = len(block)
            if size + payload_size > self._max_payload:  # upstream counts the payload only; the server hangs up on more
                raise nats.errors.MaxPayloadError
            command = b"HPUB %b %d %d\r\n%b%b\r\n" % (
                f"{subject} {reply}".encode(),
                size,
                size + payload_size,
                block,
                payload,
            )
        else:
            command = b"PUB %b %d\r\n%b\r\n" % (f"{subject} {reply}".encode(), payload_size, payload)
        await self._send_command(command)
        if self._flush_queue is not None and self._flush_queue.empty():
            await self._flush_pending()
