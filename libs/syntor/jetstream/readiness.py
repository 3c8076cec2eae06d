"""Tells whether the log would take a write now, from what its leader says about itself."""

from __future__ import annotations

import asyncio
import time

import msgspec

from syntor.contracts.decoding import UNDECODABLE
from syntor.contracts.errors import InfrastructureError
from syntor.contracts.topology import EVENTS
from syntor.jetstream.connection import Connection
from syntor.jetstream.errors import NOT_FOUND, ApiFault

_TIMEOUT_S = 1.5  # below the 2 s that a readiness check may take
_GOOD_FOR_S = 1.0
_BAD_FOR_S = 0.2  # a recovery is seen immediately
_SILENT_NS = 4_000_000_000  # replicas confirm the leader every second; after 20 s without a majority it steps down


class Replica(msgspec.Struct, frozen=True):
    """A follower, as its leader sees it."""

    active: int = 0
    """Nanoseconds since its last sign."""
    offline: bool = False


class Cluster(msgspec.Struct, frozen=True):
    """Where a stream's replicas are."""

    leader: str = ""
    replicas: list[Replica] | None = None


class StreamConfig(msgspec.Struct, frozen=True):
    """The part of a stream's configuration that is looked at."""

    num_replicas: int = 1


class StreamInfo(msgspec.Struct, frozen=True):
    """The parts of `STREAM.INFO` that are looked at."""

    config: StreamConfig = StreamConfig()
    cluster: Cluster = Cluster()
    error: ApiFault | None = None


def write_problem(info: StreamInfo) -> str | None:
    """Return why the log would not take a write, and the fix where it is known; None: it would."""
    if info.error is not None:
        if info.error.err_code in NOT_FOUND:
            return f"the stream {EVENTS} does not exist; run: syntor admin apply"
        return f"{EVENTS}: {info.error.description}"
    count = info.config.num_replicas
    if count == 1:
        return None
    if not info.cluster.leader:
        return f"{EVENTS} has no leader: a majority of its {count} replicas must be reachable"
    alive = 1 + sum(not each.offline and each.active < _SILENT_NS for each in info.cluster.replicas or [])
    if alive <= count // 2:
        return f"{EVENTS} has {alive} of {count} replicas: a majority must be reachable"
    return None


class LogReadiness:
    """The readiness check of the log: one request a second at most, shared by all who ask."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._asking = asyncio.Lock()
        self._known_until = 0.0
        self._problem: str | None = None

    async def check(self) -> str | None:
        """Return why the log would not take a write; None: it would."""
        async with self._asking:
            if time.monotonic() >= self._known_until:
                self._problem = await self._ask()
                self._known_until = time.monotonic() + (_GOOD_FOR_S if self._problem is None else _BAD_FOR_S)
            return self._problem

    async def _ask(self) -> str | None:
        if (refusal := self._connection.refuses_writes()) or not self._connection.is_connected:
            return refusal or None  # the check of the connection reports the other one
        try:
            reply = await self._connection.request_unchecked(f"$JS.API.STREAM.INFO.{EVENTS}", b"", timeout_s=_TIMEOUT_S)
            if reply.status == "503" and not reply.payload:
                return f"JetStream is off at {self._connection.url}, or {EVENTS} has no leader"
            return write_problem(msgspec.json.decode(reply.payload, type=StreamInfo))
        except InfrastructureError as exc:
            return f"JetStream does not respond for {EVENTS}: it is off, or a majority of its servers is down ({exc})"
        except UNDECODABLE as exc:
            return f"unreadable response of the JetStream API: {exc}"
