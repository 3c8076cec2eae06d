"""The contract of an event store holds on the NATS image that is deployed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from contract.eventsourcing.test_store import *  # noqa: F403 - the suite itself, on another server

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # docker-py leaves its sockets to the collector

PORT = 4222
CONFIG = f'port: {PORT}\nmax_payload: 8MB\njetstream {{ store_dir: "/data" }}\n'
CONFIG_PATH = "/syntor-test.conf"


@pytest.fixture(params=["jetstream", "jetstream-grouped"])  # type: ignore[no-redef]
def adapter(request: pytest.FixtureRequest) -> str:
    """The adapters that need a server."""
    name: str = request.param
    return name


@pytest.fixture  # type: ignore[no-redef]
def nats_url(images: dict[str, str]) -> Iterator[str]:
    """A NATS server in a container, fresh for each test."""
    from testcontainers.core.container import DockerContainer  # slow to load
    from testcontainers.core.wait_strategies import LogMessageWaitStrategy

    container = (
        DockerContainer(images["nats"])
        .with_exposed_ports(PORT)
        .with_copy_into_container(CONFIG.encode(), CONFIG_PATH)
        .with_command(["-c", CONFIG_PATH])
        .waiting_for(LogMessageWaitStrategy("Server is ready"))
    )
    with closing(container.get_docker_client().client), container:
        yield f"nats://{container.get_container_host_ip()}:{container.get_exposed_port(PORT)}"
