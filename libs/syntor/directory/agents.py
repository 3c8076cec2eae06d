"""The registered agents, kept in memory: folded from the log's `agent.*` events, then fed by the caller's own tail.

Invariant: applying an event twice, or one older than what is known of its agent, changes nothing. So the first load
and the tail may overlap in any way.
"""

from __future__ import annotations

from syntor.contracts import subjects
from syntor.contracts.agent.v1 import AgentDeregistered, AgentProfile, AgentRegistered
from syntor.contracts.errors import NotFoundError
from syntor.contracts.topology import EXTERNAL_QUEUE
from syntor.eventsourcing.store import EventStore, Recorded

_LAST_LIMIT = 1024  # subjects `EventStore.last_of_each` can answer with


def queue_of(profile: AgentProfile) -> str:
    """Return the queue an agent's tasks go to: its own, or the external-agent gateway's where it has an endpoint."""
    return profile.queue or (EXTERNAL_QUEUE if profile.endpoint else profile.agent_id)


class AgentDirectory:
    """Finds agents by id or alias; an id wins over an alias, an older alias over a newer one."""

    def __init__(self) -> None:
        self._profiles: dict[str, AgentProfile] = {}
        self._positions: dict[str, int] = {}
        self._aliases: dict[str, str] = {}

    async def load(self, store: EventStore) -> None:
        """Take in what the log holds now; an event that cannot be read makes no agent known, and hides no other.

        Raises:
            InfrastructureError: the log could not be read.
        """
        filters = [subjects.of_type(AgentRegistered), subjects.of_type(AgentDeregistered)]
        newest = await store.last_of_each(filters, skip_unreadable=True)
        for recorded in newest:
            self.apply(recorded)
        if len(newest) >= _LAST_LIMIT:
            async for recorded in store.load(subjects.category("agent"), skip_unreadable=True):
                self.apply(recorded)

    def apply(self, recorded: Recorded) -> None:
        """Take in one event of the log; events that do not concern the directory are ignored."""
        match recorded.event:
            case AgentRegistered(profile=profile):
                self.register(profile, recorded.position)
            case AgentDeregistered():
                self.forget(subjects.parse_event(recorded.subject).aggregate_id, recorded.position)
            case _:
                return

    def register(self, profile: AgentProfile, position: int) -> None:
        """Make an agent known as of a position."""
        if self._is_news(profile.agent_id, position):
            self._profiles[profile.agent_id] = profile
            self._index()

    def forget(self, agent_id: str, position: int) -> None:
        """Forget an agent as of a position."""
        if self._is_news(agent_id, position):
            self._profiles.pop(agent_id, None)
            self._index()

    def find(self, name: str) -> AgentProfile | None:
        """Return the agent with that id or alias, or None."""
        return self._profiles.get(name) or self._profiles.get(self._aliases.get(name, ""))

    def resolve(self, name: str) -> AgentProfile:
        """Return the agent with that id or alias.

        Raises:
            NotFoundError: there is none; lists those there are.
        """
        profile = self.find(name)
        if profile is None:
            raise NotFoundError(f"no agent {name!r}; {self._listing()}")
        return profile

    def agents(self) -> list[AgentProfile]:
        """Return all agents, by id."""
        return [self._profiles[agent_id] for agent_id in sorted(self._profiles)]

    def _is_news(self, agent_id: str, position: int) -> bool:
        if position <= self._positions.get(agent_id, 0):
            return False
        self._positions[agent_id] = position
        return True

    def _index(self) -> None:
        by_age = sorted(self._profiles.values(), key=lambda profile: -self._positions[profile.agent_id])
        self._aliases = {alias: profile.agent_id for profile in by_age for alias in profile.aliases}

    def _listing(self) -> str:
        names = [f"{p.agent_id} ({', '.join(p.aliases)})" if p.aliases else p.agent_id for p in self.agents()]
        return f"known: {', '.join(names)}" if names else "none is registered yet"
