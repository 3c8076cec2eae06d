"""The pull protocol of JetStream consumers: issues pull requests, and detects requests the server has lost.

A server restart drops pull requests silently, so each one requests idle heartbeats; missing heartbeats or a reconnect
make the outstanding requests void.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable
from typing import NamedTuple

from syntor.contracts.errors import NotReachableError
from syntor.jetstream.connection import Connection, Message, Subscription

HEARTBEAT_S = 2.0
SILENCE_S = 5.0  # two and a half heartbeats
_EXPIRES_S = 30.0
_NS = 1_000_000_000


class Metadata(NamedTuple):
    """Delivery metadata, from the reply subject of a message."""

    delivered: int
    """1 for the first delivery."""
    position: int
    """Stream sequence."""
    consumer_sequence: int
    """Number of this delivery within the consumer, without gaps."""
    timestamp_ns: int
    """When the stream stored it, nanoseconds since 1970."""
    pending: int
    """Matching messages after it."""


def parse_metadata(reply: str) -> Metadata:
    """Parse an ack subject: v1 with nine tokens, or v2 with domain and account hash."""
    tokens = reply.split(".")
    start = 4 if len(tokens) == 9 else 6
    return Metadata(*(int(token) for token in tokens[start : start + 5]))


class Puller:
    """Issues pull requests of one consumer and tracks how many messages are outstanding.

    Calls `on_message` for each message, `on_ended` when a request ended normally and fewer messages are outstanding,
    and `on_lost` when all outstanding requests are void: messages the server sent for them may be lost.
    """

    def __init__(
        self,
        connection: Connection,
        stream: str,
        consumer: str,
        *,
        on_message: Callable[[Message], None],
        on_ended: Callable[[], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._on_message = on_message
        self._on_ended = on_ended
        self._on_lost = on_lost
        self._generation = 0
        self._opened = -1  # generation of the subscription; each has its own inbox, so older requests deliver nothing
        self._inbox = ""
        self._subscription: Subscription | None = None
        self._opening = asyncio.Lock()
        self._remove_listener: Callable[[], object] = lambda: None
        self._watcher: asyncio.TimerHandle | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self._last_heard = 0.0
        self.outstanding = 0
        """Messages requested that have not arrived."""

    def start(self) -> None:
        """Watch the connection; issues no request."""
        self._remove_listener = self._connection.on_reconnect(self._lost)
        self._heard()
        self._watch()

    def fetch(self, count: int) -> None:
        """Request `count` more messages; does nothing while disconnected: the reconnect calls `on_lost`."""
        if not self._connection.is_connected:
            return
        if self.outstanding == 0:
            self._heard()  # without outstanding requests the server sends no heartbeats
        self.outstanding += count
        task = asyncio.ensure_future(self._send(count, self._generation))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def stop(self) -> None:
        """Issue no more requests; messages the server sent before the UNSUB still reach `on_message`."""
        self._remove_listener()
        if self._watcher is not None:
            self._watcher.cancel()
        if self._subscription is not None:
            await self._subscription.drain()

    async def _send(self, count: int, generation: int) -> None:
        body = b'{"batch":%d,"expires":%d,"idle_heartbeat":%d}' % (
            count,
            int(_EXPIRES_S * _NS),
            int(HEARTBEAT_S * _NS),
        )
        with contextlib.suppress(NotReachableError):  # the watcher detects the missing heartbeats
            async with self._opening:
                if self._opened != generation:
                    await self._open(generation)
            await self._connection.publish(self._subject, body, self._inbox)

    async def _open(self, generation: int) -> None:
        if self._subscription is not None:
            await self._subscription.unsubscribe()
        inbox = self._connection.new_inbox()
        callback = functools.partial(self._receive, generation)
        self._subscription = await self._connection.subscribe_direct(inbox, callback)
        self._inbox, self._opened = inbox, generation

    def _heard(self) -> None:
        self._last_heard = asyncio.get_running_loop().time()

    def _receive(self, generation: int, message: Message) -> None:
        """Handle a message of any generation; ignore status messages about requests of an earlier one."""
        status = message.status
        if generation == self._generation:
            self._heard()
            if not status:
                self.outstanding -= 1
            elif status != "100":
                self._on_status(status, message.headers or {})
        if not status:
            self._on_message(message)

    def _on_status(self, status: str, headers: dict[str, str]) -> None:
        """Handle the end of a request: 404 and 408 are normal; any other status means the consumer is not usable."""
        if status not in ("404", "408"):
            self._lost()
            return
        self.outstanding = max(0, self.outstanding - int(headers.get("Nats-Pending-Messages") or self.outstanding))
        self._on_ended()

    def _lost(self) -> None:
        self._generation += 1
        self.outstanding = 0
        self._heard()
        self._on_lost()

    def _watch(self) -> None:
        """Look for silence now, and again when it could have lasted long enough."""
        loop = asyncio.get_running_loop()
        if loop.time() >= self._last_heard + SILENCE_S:
            if self.outstanding and self._connection.is_connected:
                self._lost()
            else:
                self._heard()
        self._watcher = loop.call_at(self._last_heard + SILENCE_S, self._watch)
