"""Fixtures of tests that need a real server: started once per test, in a folder of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import cast

import pytest

from syntor.jetstream.admin import apply_topology
from syntor.jetstream.connection import Connection, connect
from syntor.jetstream.store import JetStreamStore
from syntor.testing.log import Log
from syntor.testing.nats_server import NatsServer
from syntor.testing.simulation.client import URL as SIMULATED_URL
from syntor.testing.simulation.client import connect_simulated
from syntor.testing.simulation.network import DirectNetwork
from syntor.testing.simulation.server import SimulatedServer


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    """A fresh server without any stream."""
    with NatsServer(tmp_path / "nats") as server:
        yield server


@pytest.fixture
async def connection(request: pytest.FixtureRequest) -> AsyncIterator[Connection]:
    """A connection to the fresh server; with the parameter `simulated`, to a simulated one."""
    if getattr(request, "param", "real") == "simulated":
        opened, _ = await connect_simulated(SimulatedServer(DirectNetwork()), "syntor/test")
    else:
        nats_server: NatsServer = request.getfixturevalue("nats_server")
        opened = await connect(nats_server.url, "syntor/test")
    yield opened
    await opened.close()


@pytest.fixture
async def log(request: pytest.FixtureRequest, connection: Connection) -> AsyncIterator[Log]:
    """The fresh server with all streams and consumers, and a store on it; a simulated server has no process."""
    await apply_topology(connection)
    store = JetStreamStore(connection)
    server = None if connection.url == SIMULATED_URL else request.getfixturevalue("nats_server")
    yield Log(cast("NatsServer", server), connection, store)
    await store.close()
