"""The other agents an agent can delegate to: found by name, and listed."""

from __future__ import annotations

import time
from typing import Protocol

from syntor.contracts.agent.v1 import AgentProfile
from syntor.contracts.errors import InfrastructureError
from syntor.contracts.rpc.v1 import LIST_AGENTS, REGISTRY, AgentList, AgentView, ListAgents
from syntor.directory.agents import AgentDirectory
from syntor.eventsourcing.store import EventStore
from syntor.jetstream.connection import Connection
from syntor.jetstream.requests import call

LIST_MAX_AGE_S = 10.0  # seconds; a list of this age is good enough for a prompt


class PeerDirectory(Protocol):
    """Where an agent finds its peers."""

    async def find(self, agent: str) -> AgentProfile:
        """Return an agent by id or alias.

        Raises:
            NotFoundError: there is none; names the known agents.
        """
        ...

    async def all(self) -> list[AgentProfile]:
        """Return the available agents, by id; empty while they cannot be determined."""
        ...


class RegisteredPeers:
    """`PeerDirectory` of registered agents: finds them in the log, also without the registry, which lists them."""

    def __init__(self, connection: Connection, store: EventStore) -> None:
        self._connection = connection
        self._store = store
        self._listed: list[AgentProfile] = []
        self._listed_at = -LIST_MAX_AGE_S

    async def find(self, agent: str) -> AgentProfile:
        """Return an agent by id or alias; see `PeerDirectory`."""
        directory = AgentDirectory()
        await directory.load(self._store)
        return directory.resolve(agent)

    async def all(self) -> list[AgentProfile]:
        """Return the agents that are not offline, at most ten seconds old; the last list while the registry is down."""
        if time.monotonic() - self._listed_at >= LIST_MAX_AGE_S:
            try:
                self._listed = [view.profile for view in await self._views() if view.status != "offline"]
            except InfrastructureError:
                return self._listed
            self._listed_at = time.monotonic()
        return self._listed

    async def _views(self) -> list[AgentView]:
        found: list[AgentView] = []
        after: str | None = ""
        while after is not None:
            page = await call(self._connection, REGISTRY, LIST_AGENTS, ListAgents(after=after), AgentList)
            found += page.agents
            after = page.cursor
        return found
