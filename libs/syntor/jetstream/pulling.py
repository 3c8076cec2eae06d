"""The pull protocol of JetStream consumers: asks for messages, notices when the server forgot that it was asked.

A pull request dies silently with the server, so each asks for idle heartbeats; silence or a reconnect asks anew.
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
    """What the reply subject of a delivered message says."""

    delivered: int
    """1 for the first delivery."""
    position: int
    """Stream sequence."""
    consumer_sequence: int
    """Number of this delivery of the consumer, dense."""
    timestamp_ns: int
    """When the stream stored it."""
    pending: int
    """Matching messages behind it."""


def parse_metadata(reply: str) -> Metadata:
    """Read an acknowledgement subject, of the form with nine tokens or the newer one with domain and account."""
    tokens = reply.split(".")
    start = 4 if len(tokens) == 9 else 6
    return Metadata(*(int(token) for token in tokens[start : start + 5]))


class Puller:
    """Keeps up to a wanted number of messages asked for.

    Calls `on_message` for each message, `on_ended` when a request ended in order and less is asked for now, and
    `on_lost` when everything asked for is void: messages sent meanwhile may be lost with it.
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
        self._opened = -1  # generation the subscription is of: each has an inbox of its own, which voids older requests
        self._inbox = ""
        self._subscription: Subscription | None = None
        self._opening = asyncio.Lock()
        self._forget_listener: Callable[[], object] = lambda: None
        self._watcher: asyncio.Task[None] | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self._last_heard = 0.0
        self.outstanding = 0
        """Messages asked for that have not come."""

    def start(self) -> None:
        """Watch the connection; nothing is asked for yet."""
        self._forget_listener = self._connection.on_reconnect(self._lost)
        self._watcher = asyncio.create_task(self._watch())

    def ask(self, count: int) -> None:
        """Ask for `count` more messages; nothing while the server is away: the reconnect says `on_lost`."""
        if not self._connection.is_connected:
            return
        if self.outstanding == 0:
            self._heard()  # nobody had a reason to speak before
        self.outstanding += count
        task = asyncio.ensure_future(self._send(count, self._generation))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def stop(self) -> None:
        """Ask for nothing any more; messages sent before the server knew are still handed to `on_message`."""
        self._forget_listener()
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
        with contextlib.suppress(NotReachableError):  # the watcher notices the silence
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
        """Take a message, whoever asked; words about requests of an earlier generation count for nothing."""
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
        """A request ended: 404 and 408 are its ordinary ends, the rest says that the consumer is in trouble."""
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

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(HEARTBEAT_S / 2)
            silent = loop.time() - self._last_heard > SILENCE_S
            if silent and self.outstanding and self._connection.is_connected:
                self._lost()
