"""Fixtures of tests that need a real server: started once per test, in a folder of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from syntor.jetstream.admin import apply_topology
from syntor.jetstream.connection import Connection, connect
from syntor.jetstream.store import JetStreamStore
from syntor.testing.log import Log
from syntor.testing.nats_server import NatsServer


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    """A fresh server without any stream."""
    with NatsServer(tmp_path / "nats") as server:
        yield server


@pytest.fixture
async def connection(nats_server: NatsServer) -> AsyncIterator[Connection]:
    """A connection to the fresh server."""
    opened = await connect(nats_server.url, "syntor/test")
    yield opened
    await opened.close()


@pytest.fixture
async def log(nats_server: NatsServer, connection: Connection) -> AsyncIterator[Log]:
    """The fresh server with all streams and consumers, and a store on it."""
    await apply_topology(connection)
    store = JetStreamStore(connection)
    yield Log(nats_server, connection, store)
    await store.close()
