"""nats-py's client, hardened against its known disconnect failures, with dispatch without a queue or task per message.

Behaviours of nats-py 2.16 that are replaced (each has a test): a PONG for a cancelled flush, a callback that raises and
an error callback that raises each end the read loop while `is_connected` stays true; a reconnect and a close wait for a
peer that no longer reads its socket; a PING is written before messages that were published earlier, so a flush does not
confirm them. Publishing formats the header block as one string, at half the CPU cost of the library.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, cast

import msgspec
import nats.aio.client
import nats.errors

_LINE_BREAKS = str.maketrans("\r\n", "  ")
_log = logging.getLogger("syntor.jetstream")


class Message(msgspec.Struct):
    """A message as received from the server."""

    subject: str
    payload: bytes
    reply: str
    headers: dict[str, str] | None

    @property
    def status(self) -> str:
        """Status code of a control message of the server (`503`, `408`, ...), empty for an ordinary message."""
        return self.headers.get("Status", "") if self.headers else ""


Callback = Callable[[Message], None]
"""Called inside the read loop; must not block."""


class ClientSubscription(Protocol):
    """A client's subscription."""

    async def unsubscribe(self, limit: int = 0) -> None:
        """End it; messages in flight may still arrive."""
        ...


class Client(Protocol):
    """What `Connection` stands on: a client of one server, or of a simulated one."""

    direct: dict[int, Callback]
    """Callbacks by subscription id."""

    @property
    def is_connected(self) -> bool:
        """Whether it is connected, as far as is known."""
        ...

    @property
    def server_info(self) -> dict[str, Any]:
        """The INFO of the server last connected to."""
        ...

    def new_inbox(self) -> str:
        """Return a new unique inbox subject."""
        ...

    async def publish(
        self, subject: str, payload: bytes = b"", reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """Send a message, or buffer it while disconnected."""
        ...

    async def subscribe_direct(
        self, subject: str, callback: Callback, queue: str = ""
    ) -> tuple[int, ClientSubscription]:
        """Subscribe with a callback; return subscription id and subscription."""
        ...

    @property
    def max_payload(self) -> int:
        """Bytes the server takes in one message, headers included."""
        ...

    async def ping(self, pong: asyncio.Future[Any]) -> None:
        """Send a PING; the PONG completes `pong`."""
        ...

    def read_loop_ended(self) -> bool:
        """Return whether it reports that it is connected and reads nothing any more."""
        ...

    async def force_reconnect(self) -> None:
        """Drop the connection and open a new one."""
        ...

    async def close(self) -> None:
        """Close without sending what is still buffered."""
        ...


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
    """Return the header block; line breaks inside a value become spaces."""
    lines = [f"{name}: {value.translate(_LINE_BREAKS)}\r\n" for name, value in headers.items()]
    return f"NATS/1.0\r\n{''.join(lines)}\r\n".encode("utf-8", "replace")


class HardenedClient(nats.aio.client.Client):
    """A client whose read loop survives late PONGs and raising callbacks, and that never waits for a frozen peer."""

    def __init__(self) -> None:
        super().__init__()
        self.direct: dict[int, Callback] = {}
        """Callbacks by subscription id; these messages bypass nats-py's queues."""

    @property
    def server_info(self) -> dict[str, Any]:
        """The INFO of the server last connected to."""
        info: dict[str, Any] = self._server_info or {}
        return info

    @property
    def requires_credentials(self) -> bool:
        """Whether that INFO said `auth_required`."""
        return bool(self.server_info.get("auth_required"))

    async def open(self, on_error: Callable[[Exception], Awaitable[None]], **options: Any) -> None:
        """Connect; `options` are those of the library's `connect`; an error callback that raises is logged."""

        async def guarded(exc: Exception) -> None:
            try:
                await on_error(exc)
            except Exception as raised:  # noqa: BLE001 - it runs in the read loop, which must not end
                _log.error("error_callback_failed", exc_info=raised)

        await self.connect(error_cb=guarded, **options)

    def allow_reconnect(self) -> None:
        """Let a client that was opened with `allow_reconnect=False` reconnect after each disconnect."""
        self.options["allow_reconnect"] = True

    async def subscribe_direct(self, subject: str, callback: Callback, queue: str = "") -> tuple[int, Any]:
        """Subscribe with a callback that runs inside the read loop; return subscription id and subscription."""
        sid = (
            self._sid + 1
        )  # the id `subscribe` assigns before its first await: no message can arrive before the callback is set
        self.direct[sid] = callback
        return sid, await self.subscribe(subject, queue=queue)  # pyright: ignore[reportUnknownMemberType]

    def abort(self) -> None:
        """Close the socket without flushing: an orderly close waits for the peer, which may be frozen.

        The writer is removed as well, or the library would wait until it is closed; after a failed TLS handshake that
        never happens.
        """
        transport: Any = self._transport
        writer = getattr(transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()
            transport._io_writer = None

    def read_loop_ended(self) -> bool:
        """Return whether the read loop has ended while the client reports that it is connected."""
        task = cast("asyncio.Task[None] | None", self._reading_task)  # pyright: ignore[reportUnknownMemberType]
        return self.is_connected and task is not None and task.done()

    async def close(self) -> None:
        """Close without sending what is still buffered; flush before to send it."""
        self._pending = []
        self._pending_data_size = 0
        self.abort()
        await super().close()

    async def _attempt_reconnect(self) -> None:
        self.abort()
        await super()._attempt_reconnect()

    async def ping(self, pong: asyncio.Future[Any]) -> None:
        """Send a PING; the PONG, which completes `pong`, confirms everything published before."""
        await self._send_ping(pong)

    async def _send_ping(self, future: asyncio.Future[Any] | None = None) -> None:
        pongs = cast("list[asyncio.Future[object]]", self._pongs)  # pyright: ignore[reportUnknownMemberType]
        pongs.append(asyncio.get_running_loop().create_future() if future is None else future)
        await self._send_command(
            b"PING\r\n"
        )  # upstream writes it ahead of buffered messages: a flush would not confirm them
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
            _log.error("callback_failed", exc_info=exc)

    async def _send_publish(
        self, subject: str, reply: str, payload: bytes, payload_size: int, headers: dict[str, Any] | None
    ) -> None:
        self.stats["out_msgs"] += 1
        self.stats["out_bytes"] += payload_size
        if headers:
            block = build_headers(headers)
            size = len(block)
            if (
                size + payload_size > self._max_payload
            ):  # upstream counts the payload only; the server disconnects for more
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
