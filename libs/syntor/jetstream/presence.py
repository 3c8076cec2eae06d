"""Heartbeats of agent instances: a message that expires; the server's mark that it did says the instance is gone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec

from syntor.contracts import subjects
from syntor.contracts.decoding import UNDECODABLE
from syntor.contracts.errors import LogBehindError, MalformedMessageError, NotFoundError, NotReachableError
from syntor.contracts.rpc.v1 import Heartbeat
from syntor.contracts.topology import EVENTS, PRESENCE, PRESENCE_TTL_S, STREAMS
from syntor.jetstream.admin import ensure_stream, replicas_of, stream_state
from syntor.jetstream.connection import Connection
from syntor.jetstream.tail import RawMessage, Tail

_STREAM = next(spec for spec in STREAMS if spec.name == PRESENCE)
_RETRY_S = 0.25
_decode = msgspec.json.Decoder(Heartbeat).decode
_log = logging.getLogger("syntor.jetstream")


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
        *,
        ttl_s: float = PRESENCE_TTL_S,
    ) -> None:
        self._connection = connection
        self._on_seen = on_seen
        self._on_gone = on_gone
        self._ttl_s = ttl_s
        self._present: set[tuple[str, str]] = set()
        self._missed: set[tuple[str, str]] = set()  # present before the server forgot them, not seen since

    async def run(self) -> None:
        """Watch until cancelled; a restart of the server, which forgets all heartbeats, starts over.

        Raises:
            InfrastructureError: the connection was closed for good.
        """
        while True:
            await self._ensure_stream()
            lost = asyncio.Event()
            forget = self._connection.on_reconnect(lost.set)
            tail = Tail(self._connection, [subjects.ALL_PRESENCE], after=0, stream=PRESENCE)
            self._missed |= self._present
            self._present.clear()
            following = asyncio.create_task(self._follow(tail))
            missing = asyncio.create_task(self._miss())
            losing = asyncio.create_task(_wait(lost))
            pending = {following, missing, losing}
            try:
                while losing in pending:
                    done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        task.result()
            except LogBehindError:
                continue  # the server was restarted and counts from 1 again
            finally:
                forget()
                for task in pending:
                    task.cancel()
                await asyncio.gather(*pending, return_exceptions=True)
                await tail.close()

    async def _ensure_stream(self) -> None:
        """Create the stream anew where it is gone: kept in memory, it goes with its server."""
        while True:
            try:
                await stream_state(self._connection, PRESENCE)
                return
            except NotFoundError:
                replicas = await replicas_of(self._connection, EVENTS)
                await ensure_stream(self._connection, _STREAM, replicas)
                return
            except NotReachableError:
                if self._connection.closed.done():
                    raise
            await asyncio.sleep(_RETRY_S)
            await self._connection.wait_connected(_RETRY_S)

    async def _follow(self, tail: Tail) -> None:
        async for batch in tail.batches():
            for message in batch:
                await self._handle(message)

    async def _miss(self) -> None:
        """Report those known before that do not show up again: the server no longer knows that it should."""
        await asyncio.sleep(self._ttl_s)
        while self._missed:
            await self._on_gone(*self._missed.pop())

    async def _handle(self, message: RawMessage) -> None:
        try:
            agent_id, instance = subjects.parse_presence(message.subject)
            heartbeat = _decode(message.payload) if message.payload else None  # an expired one's mark has no body
        except (MalformedMessageError, *UNDECODABLE) as exc:
            _log.warning("heartbeat_unreadable: %s: %s", message.subject, exc)
            return
        if heartbeat is None or heartbeat.status == "offline":
            self._forget(agent_id, instance)
            await self._on_gone(agent_id, instance)
        else:
            self._forget(agent_id, instance)
            self._present.add((agent_id, instance))
            await self._on_seen(heartbeat)

    def _forget(self, agent_id: str, instance: str) -> None:
        self._present.discard((agent_id, instance))
        self._missed.discard((agent_id, instance))


async def _wait(event: asyncio.Event) -> None:
    await event.wait()
