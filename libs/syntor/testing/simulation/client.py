"""A client of the simulated server, in the place of nats-py's: `Connection` and everything above it run unchanged."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from syntor.contracts.ids import new_id
from syntor.jetstream.client import Callback
from syntor.jetstream.connection import RECONNECT_WAIT_S, Connection
from syntor.testing.simulation.loop import SimulatedProcess
from syntor.testing.simulation.network import Link
from syntor.testing.simulation.server import (
    Delivered,
    Lost,
    Ping,
    Pong,
    Publish,
    SimulatedServer,
    Subscribe,
    Unsubscribe,
)

URL = "nats://simulated"
_log = logging.getLogger("syntor.jetstream")

MAX_PAYLOAD_BYTES = 8 * 1024 * 1024  # as of a local stack's server


class _Subscription:
    """What `Connection` ends a subscription with."""

    def __init__(self, client: SimulatedClient, sid: int) -> None:
        self._client, self._sid = client, sid

    async def unsubscribe(self, limit: int = 0) -> None:
        """End it; messages in flight still arrive."""
        self._client.subjects.pop(self._sid, None)
        self._client.send(Unsubscribe(self._sid))


class SimulatedClient:
    """One client: buffers what is published while it is disconnected, and reconnects indefinitely."""

    def __init__(self, server: SimulatedServer, process: SimulatedProcess | None = None) -> None:
        self.direct: dict[int, Callback] = {}
        self.subjects: dict[int, tuple[str, str]] = {}
        """Subject and queue by subscription id, while it is subscribed."""
        self.is_connected = False
        self.max_payload = MAX_PAYLOAD_BYTES
        self.link: Link | None = None
        self._server = server
        self.process = process
        self._closed = False
        self._buffer: list[Publish] = []
        self._sids = itertools.count(1)
        self._pings: dict[int, asyncio.Future[Any]] = {}
        self._ping_numbers = itertools.count(1)
        self._reconnecting: asyncio.Task[None] | None = None
        self._on_disconnected: Callable[[], Awaitable[None]]
        self._on_reconnected: Callable[[], Awaitable[None]]

    async def open(self, connection: Connection) -> None:
        """Connect; the connection hears of every loss and reconnect.

        Raises:
            ConnectionRefusedError: the server is down.
        """
        self._on_disconnected, self._on_reconnected = connection.on_disconnected, connection.on_reconnected
        await self._travel()
        if not self._server.up:
            raise ConnectionRefusedError("the server is down")
        self.link = self._server.accept(self.process, self._receive)
        self.is_connected = True

    def send(self, item: Publish | Subscribe | Unsubscribe | Ping) -> None:
        """Send something while connected; messages are buffered otherwise."""
        if self.is_connected and self.link is not None:
            self.link.up(item)
        elif isinstance(item, Publish):
            self._buffer.append(item)

    # what `Connection` uses

    @property
    def server_info(self) -> dict[str, Any]:
        """The INFO of the simulated server."""
        return {"version": "simulated", "jetstream": True}

    def new_inbox(self) -> str:
        """Return a new unique inbox subject."""
        return f"_INBOX.{new_id()}"

    async def publish(
        self, subject: str, payload: bytes = b"", reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """Send a message."""
        if self._closed:
            raise ConnectionError("the connection is closed")
        self.send(Publish(subject, bytes(payload), reply, dict(headers) if headers else None))

    async def subscribe_direct(self, subject: str, callback: Callback, queue: str = "") -> tuple[int, Any]:
        """Subscribe; return subscription id and subscription."""
        if self._closed:
            raise ConnectionError("the connection is closed")
        sid = next(self._sids)
        self.direct[sid] = callback
        self.subjects[sid] = subject, queue
        self.send(Subscribe(sid, subject, queue))
        return sid, _Subscription(self, sid)

    async def ping(self, pong: asyncio.Future[Any]) -> None:
        """Send a PING; the PONG completes `pong`."""
        number = next(self._ping_numbers)
        self._pings[number] = pong
        self.send(Ping(number))

    def read_loop_ended(self) -> bool:
        """Return False: there is no read loop that could end."""
        return False

    async def force_reconnect(self) -> None:
        """Drop the connection and open a new one."""
        if self.link is not None:
            self.link.cut()
            self._server.drop(self.link)
            self.lose(self.link)

    async def close(self) -> None:
        """Close the connection; what is buffered is lost."""
        self._closed = True
        self.is_connected = False
        if self._reconnecting is not None:
            self._reconnecting.cancel()
        if self.link is not None:
            self.link.cut()
            self._server.drop(self.link)

    # losing and regaining the connection

    def lose(self, link: Link) -> None:
        """Notice that a link is lost, unless it was noticed before."""
        if link is not self.link or self._closed:
            return
        self.link = None
        self.is_connected = False
        self._pings.clear()
        self._reconnecting = asyncio.ensure_future(self._reconnect())

    async def _reconnect(self) -> None:
        await self._on_disconnected()
        while True:
            await asyncio.sleep(RECONNECT_WAIT_S)
            await self._travel()
            if self._server.up:
                break
        self.link = self._server.accept(self.process, self._receive)
        self.is_connected = True
        for sid, (subject, queue) in self.subjects.items():
            self.send(Subscribe(sid, subject, queue))
        buffered, self._buffer = self._buffer, []
        for item in buffered:
            self.send(item)
        await self._on_reconnected()

    async def _travel(self) -> None:
        delay_s = self._server.network.delay_s() * 2
        if delay_s:
            await asyncio.sleep(delay_s)

    def _receive(self, link: Link, item: Delivered | Pong | Lost) -> None:
        match item:
            case Delivered(sid=sid, message=message):
                callback = self.direct.get(sid)
                try:
                    if callback is not None:
                        callback(message)
                except Exception as exc:  # noqa: BLE001 - as in nats-py's place: one bad message ends nothing
                    _log.error("callback_failed", exc_info=exc)
            case Pong(number=number):
                pong = self._pings.pop(number, None)
                if pong is not None and not pong.done():
                    pong.set_result(True)
            case Lost():
                link.cut()
                self.lose(link)


async def connect_simulated(
    server: SimulatedServer, name: str, process: SimulatedProcess | None = None
) -> tuple[Connection, SimulatedClient]:
    """Connect to a simulated server.

    Raises:
        ConnectionRefusedError: it is down.
    """
    client = SimulatedClient(server, process)
    connection = Connection(client, URL, name)
    await client.open(connection)
    await connection.start()
    return connection, client
