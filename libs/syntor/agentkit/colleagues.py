"""The other agents, as an agent can ask for them: found by name, and listed."""

from __future__ import annotations

import time
from typing import Protocol

from syntor.contracts.agent.v1 import AgentProfile
from syntor.contracts.errors import InfrastructureError
from syntor.contracts.rpc.v1 import LIST_AGENTS, REGISTRY, AgentList, ListAgents
from syntor.directory.agents import AgentDirectory
from syntor.eventsourcing.store import EventStore
from syntor.jetstream.connection import Connection
from syntor.jetstream.requests import call

REMEMBERED_S = 10.0  # a list so old is still good enough for a prompt


class Colleagues(Protocol):
    """Where an agent finds others."""

    async def find(self, agent: str) -> AgentProfile:
        """Return an agent by id or alias.

        Raises:
            NotFoundError: there is none; names those there are.
        """
        ...

    async def all(self) -> list[AgentProfile]:
        """Return the agents that are there, by id; none when nobody knows now."""
        ...


class RegisteredColleagues:
    """`Colleagues` that are registered: found in the log itself, so that nobody need answer; listed by the registry."""

    def __init__(self, connection: Connection, store: EventStore) -> None:
        self._connection = connection
        self._store = store
        self._known: list[AgentProfile] = []
        self._asked_at = -REMEMBERED_S

    async def find(self, agent: str) -> AgentProfile:
        """Return an agent by id or alias; see `Colleagues`."""
        directory = AgentDirectory()
        await directory.load(self._store)
        return directory.resolve(agent)

    async def all(self) -> list[AgentProfile]:
        """Return the agents that are not off line, as of at most ten seconds ago."""
        if time.monotonic() - self._asked_at >= REMEMBERED_S:
            try:
                found = await call(self._connection, REGISTRY, LIST_AGENTS, ListAgents(), AgentList)
            except InfrastructureError:
                return self._known
            self._known = [view.profile for view in found.agents if view.status != "offline"]
            self._asked_at = time.monotonic()
        return self._known
