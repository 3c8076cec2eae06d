"""The pull protocol of JetStream consumers: asks for messages, notices when the server forgot that it was asked.

A pull request dies silently with the server, so each asks for idle heartbeats; silence or a reconnect asks anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

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

    Calls `on_message` for each message and `on_lost` when the requests were lost and everything asked for is void
    (`gone` says whether the consumer itself is not there any more).
    """

    def __init__(
        self,
        connection: Connection,
        stream: str,
        consumer: str,
        on_message: Callable[[Message], None],
        on_lost: Callable[[bool], None],
    ) -> None:
        self._connection = connection
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._on_message = on_message
        self._on_lost = on_lost
        self._inbox = ""
        self._subscription: Subscription | None = None
        self._forget_listener: Callable[[], object] = lambda: None
        self._watcher: asyncio.Task[None] | None = None
        self._last_heard = 0.0
        self.outstanding = 0
        """Messages asked for that have not come."""

    async def start(self) -> None:
        """Subscribe; nothing is asked for yet."""
        self._inbox = self._connection.new_inbox()
        self._subscription = await self._connection.subscribe_direct(self._inbox, self._receive)
        self._forget_listener = self._connection.on_reconnect(lambda: self._lost(False))
        self._watcher = asyncio.create_task(self._watch())
        self._heard()

    async def ask(self, count: int) -> None:
        """Ask for `count` more messages."""
        self.outstanding += count
        body = b'{"batch":%d,"expires":%d,"idle_heartbeat":%d}' % (
            count,
            int(_EXPIRES_S * _NS),
            int(HEARTBEAT_S * _NS),
        )
        await self._connection.publish(self._subject, body, self._inbox)

    async def stop(self) -> None:
        """Unsubscribe; what the server still sends is dropped and delivered to others."""
        self._forget_listener()
        if self._watcher is not None:
            self._watcher.cancel()
        if self._subscription is not None:
            await self._subscription.unsubscribe()

    def _heard(self) -> None:
        self._last_heard = asyncio.get_running_loop().time()

    def _receive(self, message: Message) -> None:
        self._heard()
        status = message.status
        if not status:
            self.outstanding -= 1
            self._on_message(message)
        elif status != "100":
            self._on_status(status, message.headers or {})

    def _on_status(self, status: str, headers: dict[str, str]) -> None:
        """A request ended: 404 and 408 are its ordinary ends, the rest says that the consumer is in trouble."""
        description = headers.get("Description", "").lower()
        left = int(headers.get("Nats-Pending-Messages") or 0)
        if status in ("404", "408"):
            self.outstanding = max(0, self.outstanding - left) if left else 0
            self._on_lost(False) if self.outstanding == 0 else None
        elif status == "503" or "deleted" in description:
            self._lost(True)
        else:
            self._lost(False)

    def _lost(self, gone: bool) -> None:
        self.outstanding = 0
        self._heard()
        self._on_lost(gone)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(HEARTBEAT_S / 2)
            silent = loop.time() - self._last_heard > SILENCE_S
            if silent and self.outstanding and self._connection.is_connected:
                self._lost(True)
