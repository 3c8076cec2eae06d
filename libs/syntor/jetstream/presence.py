"""Heartbeats of agent instances: messages with a TTL, whose delete marker reports that the instance is absent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec

from syntor.contracts import subjects
from syntor.contracts.decoding import UNDECODABLE
from syntor.contracts.errors import (
    InfrastructureError,
    LogBehindError,
    MalformedMessageError,
    NotFoundError,
    NotReachableError,
)
from syntor.contracts.rpc.v1 import Heartbeat
from syntor.contracts.topology import EVENTS, PRESENCE, PRESENCE_TTL_S, STREAMS
from syntor.eventsourcing.store import RawEvent
from syntor.jetstream.admin import ensure_stream, replicas_of, stream_state
from syntor.jetstream.connection import Connection
from syntor.jetstream.tail import Tail

_STREAM = next(spec for spec in STREAMS if spec.name == PRESENCE)
_RETRY_S = 0.25
_decode = msgspec.json.Decoder(Heartbeat).decode
_log = logging.getLogger("syntor.jetstream")


async def publish_presence(connection: Connection, heartbeat: Heartbeat, ttl_s: int = PRESENCE_TTL_S) -> None:
    """Publish a heartbeat; without another one the instance is reported absent after `ttl_s`."""
    subject = subjects.presence(heartbeat.agent_id, heartbeat.instance)
    await connection.publish(subject, msgspec.json.encode(heartbeat), "", {"Nats-TTL": f"{ttl_s}s"})


async def withdraw_presence(connection: Connection, agent_id: str, instance: str) -> None:
    """Publish that an instance goes offline; watchers report it absent immediately."""
    heartbeat = Heartbeat(agent_id=agent_id, instance=instance, status="offline")
    await publish_presence(connection, heartbeat, ttl_s=1)


class PresenceWatch:
    """Watches all heartbeats, stored and live, and the delete markers of those that expired."""

    def __init__(
        self,
        connection: Connection,
        on_heartbeat: Callable[[Heartbeat], Awaitable[None]],
        on_expired: Callable[[str, str], Awaitable[None]],
        *,
        ttl_s: float = PRESENCE_TTL_S,
    ) -> None:
        self._connection = connection
        self._on_heartbeat = on_heartbeat
        self._on_expired = on_expired
        self._ttl_s = ttl_s
        self._present: set[tuple[str, str]] = set()
        self._unconfirmed: set[tuple[str, str]] = set()  # present before a server restart, no heartbeat since

    async def run(self) -> None:
        """Watch until cancelled; start over after a server restart, which loses all heartbeats.

        Raises:
            InfrastructureError: the connection was closed.
        """
        while True:
            await self._ensure_stream()
            lost = asyncio.Event()
            remove_listener = self._connection.on_reconnect(lost.set)
            tail = Tail(self._connection, [subjects.ALL_PRESENCE], after=0, stream=PRESENCE)
            self._unconfirmed |= self._present
            self._present.clear()
            reading = asyncio.create_task(self._read(tail))
            expiring = asyncio.create_task(self._expire_unconfirmed())
            reconnected = asyncio.create_task(_wait(lost))
            pending = {reading, expiring, reconnected}
            try:
                while reconnected in pending:
                    done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        task.result()
            except LogBehindError:
                continue  # the server was restarted and the stream begins at 1 again
            finally:
                remove_listener()
                for task in pending:
                    task.cancel()
                await asyncio.gather(*pending, return_exceptions=True)
                await tail.close()

    async def _ensure_stream(self) -> None:
        """Create the stream if it does not exist: it is in memory, so a server restart deletes it."""
        while True:
            try:
                await self._create_stream()
                return
            except NotReachableError:
                if self._connection.closed.done():
                    raise
            await asyncio.sleep(_RETRY_S)
            await self._connection.wait_connected(_RETRY_S)

    async def _create_stream(self) -> None:
        try:
            await stream_state(self._connection, PRESENCE)
        except NotFoundError:
            replicas = await replicas_of(self._connection, EVENTS)
            await ensure_stream(self._connection, _STREAM, replicas)

    async def _read(self, tail: Tail) -> None:
        async for batch in tail.batches():
            for message in batch:
                await self._handle(message)

    async def _expire_unconfirmed(self) -> None:
        """Report instances known before a server restart that sent no heartbeat since: the server lost their TTLs."""
        await asyncio.sleep(self._ttl_s)
        while self._unconfirmed:
            agent_id, instance = self._unconfirmed.pop()
            await self._report(subjects.presence(agent_id, instance), self._on_expired(agent_id, instance))

    async def _handle(self, message: RawEvent) -> None:
        try:
            agent_id, instance = subjects.parse_presence(message.subject)
            heartbeat = _decode(message.payload) if message.payload else None  # a delete marker has no body
        except (MalformedMessageError, *UNDECODABLE) as exc:
            _log.warning("heartbeat_unreadable: %s: %s", message.subject, exc)
            return
        self._remove(agent_id, instance)
        if heartbeat is None or heartbeat.status == "offline":
            await self._report(message.subject, self._on_expired(agent_id, instance))
        else:
            self._present.add((agent_id, instance))
            await self._report(message.subject, self._on_heartbeat(heartbeat))

    async def _report(self, subject: str, reporting: Awaitable[None]) -> None:
        """Wait for a callback; one that raises concerns this instance only, whose next heartbeat calls it again."""
        try:
            await reporting
        except InfrastructureError as exc:
            _log.warning("heartbeat_not_recorded: %s: %s", subject, exc)
        except Exception:  # noqa: BLE001 - as the docstring says
            _log.exception("heartbeat_not_handled: %s", subject)

    def _remove(self, agent_id: str, instance: str) -> None:
        self._present.discard((agent_id, instance))
        self._unconfirmed.discard((agent_id, instance))


async def _wait(event: asyncio.Event) -> None:
    await event.wait()
