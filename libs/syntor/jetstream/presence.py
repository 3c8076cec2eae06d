"""Heartbeats of agent instances: a message that expires; the server's mark that it did says the instance is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from syntor.contracts import subjects
from syntor.contracts.errors import MalformedMessageError
from syntor.contracts.rpc.v1 import Heartbeat
from syntor.contracts.topology import PRESENCE, PRESENCE_TTL_S
from syntor.jetstream.connection import Connection
from syntor.jetstream.tail import RawMessage, Tail

_decode = msgspec.json.Decoder(Heartbeat).decode


async def publish_presence(connection: Connection, heartbeat: Heartbeat, ttl_s: int = PRESENCE_TTL_S) -> None:
    """Say that an instance is there; without another heartbeat it counts as gone after `ttl_s`."""
    subject = subjects.presence(heartbeat.agent_id, heartbeat.instance)
    await connection.publish(subject, msgspec.json.encode(heartbeat), "", {"Nats-TTL": f"{ttl_s}s"})


async def withdraw_presence(connection: Connection, agent_id: str, instance: str) -> None:
    """Say that an instance leaves; who watches sees it gone at once."""
    heartbeat = Heartbeat(agent_id=agent_id, instance=instance, status="offline")
    await publish_presence(connection, heartbeat, ttl_s=1)


class PresenceWatch:
    """Follows all heartbeats: those kept, then those that come, and the marks of those that expired."""

    def __init__(
        self,
        connection: Connection,
        on_seen: Callable[[Heartbeat], Awaitable[None]],
        on_gone: Callable[[str, str], Awaitable[None]],
    ) -> None:
        self._connection = connection
        self._on_seen = on_seen
        self._on_gone = on_gone

    async def run(self) -> None:
        """Watch until cancelled; a restart of the server, which forgets all heartbeats, starts over."""
        while True:
            lost = asyncio.Event()
            forget = self._connection.on_reconnect(lost.set)
            tail = Tail(self._connection, [subjects.ALL_PRESENCE], after=0, stream=PRESENCE)
            following = asyncio.create_task(self._follow(tail))
            losing = asyncio.create_task(lost.wait())
            try:
                await asyncio.wait({following, losing}, return_when=asyncio.FIRST_COMPLETED)
                if following.done():
                    following.result()
            finally:
                forget()
                losing.cancel()
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
                await tail.close()

    async def _follow(self, tail: Tail) -> None:
        async for batch in tail.batches():
            for message in batch:
                await self._handle(message)

    async def _handle(self, message: RawMessage) -> None:
        agent_id, instance = subjects.parse_presence(message.subject)
        if not message.payload:  # the mark of an expired or removed heartbeat has no body
            await self._on_gone(agent_id, instance)
            return
        try:
            heartbeat = _decode(message.payload)
        except (msgspec.ValidationError, msgspec.DecodeError) as exc:
            raise MalformedMessageError(f"heartbeat on {message.subject}: {exc}") from exc
        if heartbeat.status == "offline":
            await self._on_gone(agent_id, instance)
        else:
            await self._on_seen(heartbeat)
