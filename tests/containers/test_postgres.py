"""The contract of a read-model store holds on the PostgreSQL image that is deployed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from contract.test_read_model_store import *  # noqa: F403 - the suite itself, with another database

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # docker-py leaves its sockets to the collector


@pytest.fixture  # type: ignore[no-redef]
def database() -> str:
    """The only database of this layer."""
    return "postgresql"


@pytest.fixture(scope="module")  # type: ignore[no-redef]
def postgres_url(images: dict[str, str]) -> Iterator[str]:
    """A PostgreSQL server in a container, for this module; each test empties it."""
    from testcontainers.community.postgres import PostgresContainer  # slow to load

    container = PostgresContainer(images["postgres"], driver=None)
    with closing(container.get_docker_client().client), container:
        yield container.get_connection_url()
