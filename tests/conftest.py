"""Fixtures of tests that need a real server, and the order of tests that run in several processes.

`make test` runs two processes (pytest-xdist): a file's tests share a stack, so they stay in one process, and the files
below, which load every core or measure time, follow each other in one process.
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
from hypothesis import settings

from syntor.jetstream.admin import apply_topology
from syntor.jetstream.connection import Connection, connect
from syntor.jetstream.store import JetStreamStore
from syntor.testing.local_stack import headers_of
from syntor.testing.log import Log
from syntor.testing.nats_server import NatsServer
from syntor.testing.simulation.client import URL as SIMULATED_URL
from syntor.testing.simulation.client import connect_simulated
from syntor.testing.simulation.network import DirectNetwork
from syntor.testing.simulation.server import SimulatedServer

settings.register_profile("machine", deadline=None)  # a busy machine stalls any test for seconds
settings.load_profile("machine")

ONE_AT_A_TIME = (
    "tests/e2e/test_embedded_model.py",
    "tests/faults/",
    "tests/e2e/test_single_flight.py",
    "tests/e2e/test_killed_half_way.py",
    "tests/e2e/test_overload.py",
    "tests/integration/agentkit/test_takeover.py",
)
LAYERS = ("e2e", "integration", "contract", "unit")  # what takes longest is begun first


def _scope(nodeid: str) -> str:
    """Return what keeps a test in one process with others: its file, or one name for those that run alone."""
    return "" if nodeid.startswith(ONE_AT_A_TIME) else nodeid.partition("::")[0]


def _order(nodeid: str) -> tuple[int, str]:
    """Return a test's place among all: by its scope, so that the tests of one file stay as they are written."""
    scope = _scope(nodeid)
    layer = scope.split("/")[1] if scope.count("/") > 1 else ""
    return (LAYERS.index(layer) + 1 if layer in LAYERS else len(LAYERS) + 1) if scope else 0, scope


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Return the distribution of the tests over the processes."""
    scheduling = importlib.import_module("xdist.scheduler").LoadScopeScheduling(config, log)
    scheduling._split_scope = _scope
    return scheduling


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order the tests of a process of pytest-xdist."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: _order(item.nodeid))


@pytest.fixture(autouse=True, scope="session")
def _local_user() -> Iterator[None]:
    """HTTP clients of the tests send the key of the stack they call, as the `syntor` command does.

    A request that has the header already, be it empty, is left as it is.
    """
    clients: Any = httpx2._client.BaseClient
    build = clients.build_request

    def with_key(client: Any, method: str, url: Any, **more: Any) -> httpx2.Request:
        request: httpx2.Request = build(client, method, url, **more)
        if "authorization" not in request.headers:
            request.headers.update(headers_of(f"{request.url.scheme}://{request.url.netloc.decode()}"))
        return request

    clients.build_request = with_key
    yield
    clients.build_request = build


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
