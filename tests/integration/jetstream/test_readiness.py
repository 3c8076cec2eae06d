"""Readiness follows the server: missing stream, no server, and back; many callers cost one request."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import Any

import pytest

from syntor.contracts.errors import StorageFullError
from syntor.jetstream.admin import apply_topology
from syntor.jetstream.connection import Connection
from syntor.jetstream.readiness import LogReadiness
from syntor.jetstream.store import JetStreamStore
from syntor.testing.events import user_input
from syntor.testing.nats_server import NatsServer

DEADLINE_S = 20.0


async def _until(readiness: LogReadiness, wanted: bool) -> str | None:
    async with asyncio.timeout(DEADLINE_S):
        while ((problem := await readiness.check()) is None) != wanted:
            await asyncio.to_thread(time.sleep, 0.02)  # polls another process
    return problem


async def test_it_follows_the_server(nats_server: NatsServer, connection: Connection) -> None:
    readiness = LogReadiness(connection)
    assert "syntor admin apply" in str(await readiness.check())
    await apply_topology(connection)
    await _until(readiness, True)
    assert await asyncio.gather(*(readiness.check() for _ in range(50))) == [None] * 50
    nats_server.send(signal.SIGSTOP)
    assert "does not respond" in str(await _until(readiness, False))
    nats_server.send(signal.SIGCONT)
    await _until(readiness, True)


async def test_a_full_disk_is_named_and_nothing_is_sent(log: Any, connection: Connection) -> None:
    store = JetStreamStore(connection)
    readiness = LogReadiness(connection)
    full = "the disk of /x is full"
    connection.refuses_writes = lambda: full
    assert await readiness.check() == full
    with pytest.raises(StorageFullError, match=full):
        await store.append(user_input("r1"), 0)
    connection.refuses_writes = lambda: ""
    assert await store.append(user_input("r1"), 0) == 1
    await _until(readiness, True)
