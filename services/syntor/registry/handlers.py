"""The shell around the agents' records: answers commands, follows the log and the heartbeats.

Several registries agree through the log: each follows it, and each append carries the version it stands on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from syntor.contracts import subjects
from syntor.contracts.agent.v1 import AgentRegistered
from syntor.contracts.errors import ConflictError, NotFoundError, RevisionConflictError
from syntor.contracts.events import Event
from syntor.contracts.ids import new_id
from syntor.contracts.rpc.v1 import (
    AgentList,
    AgentView,
    DeregisterAgent,
    GetAgent,
    Heartbeat,
    ListAgents,
    RegisterAgent,
)
from syntor.contracts.topology import EXTERNAL_QUEUE, PRESENCE_TTL_S, task_queue_consumer
from syntor.eventsourcing.store import EventStore, NewEvent, Recorded
from syntor.jetstream.admin import ensure_consumer
from syntor.jetstream.connection import Connection
from syntor.registry.domain import agent as agents
from syntor.runtime.telemetry import get_logger

SOURCE = "registry"
_TRIES = 3


class Record(msgspec.Struct):
    """An agent's state, where in the log it stands, and who of it is there now."""

    state: agents.Agent = agents.INITIAL
    revision: int = 0
    version: int = 0
    instances: dict[str, Heartbeat] = {}
    last_seen: datetime | None = None


class Registry:
    """Answers everything about agents."""

    def __init__(
        self,
        connection: Connection,
        store: EventStore,
        clock: Callable[[], datetime],
        require_gateway: Callable[[], None] = lambda: None,
    ) -> None:
        self._connection = connection
        self._store = store
        self._clock = clock
        self._require_gateway = require_gateway
        self._records: dict[str, Record] = {}
        self._lock = asyncio.Lock()
        self._log = get_logger()

    # what the log and the heartbeats say

    def apply(self, recorded: Recorded) -> None:
        """Fold an agent event; one that is known already changes nothing."""
        agent_id = subjects.parse_event(recorded.subject).aggregate_id
        record = self._records.setdefault(agent_id, Record())
        if recorded.position > record.revision:
            record.state = agents.evolve(record.state, recorded.event, recorded.envelope.time)
            record.revision, record.version = recorded.position, recorded.envelope.version
            self._look_at(record)

    def _look_at(self, record: Record) -> None:
        if record.state.profile is not None and record.state.profile.endpoint:
            self._require_gateway()

    async def seen(self, heartbeat: Heartbeat) -> None:
        """Take in a heartbeat."""
        record = self._records.setdefault(heartbeat.agent_id, Record())
        record.instances[heartbeat.instance] = heartbeat
        record.last_seen = heartbeat.time or self._clock()
        await self._change(heartbeat.agent_id, lambda state: agents.decide_seen(state, record.instances.values()))

    async def gone(self, agent_id: str, instance: str) -> None:
        """Take in that an instance is gone; the last one takes the agent off line.

        One never heard of has gone before this registry listened, which says nothing about the agent.
        """
        record = self._records.get(agent_id)
        if record is None or record.instances.pop(instance, None) is None:
            return
        if record.instances:
            await self._change(agent_id, lambda state: agents.decide_seen(state, record.instances.values()))
        else:
            await self._change(agent_id, lambda state: agents.decide_gone(state, PRESENCE_TTL_S))

    async def check_absent(self) -> None:
        """Take off line every agent nobody has been heard of; to be called after a presence TTL of listening."""
        for agent_id, record in list(self._records.items()):
            profile = record.state.profile
            if profile is not None and not profile.endpoint and not record.instances:
                await self._change(agent_id, lambda state: agents.decide_gone(state, PRESENCE_TTL_S))

    # commands

    async def register(self, request: RegisterAgent) -> AgentView:
        """Make an agent known; its queue's consumer exists before anybody can assign to it."""
        profile = request.profile
        if profile.endpoint and not profile.queue:
            profile = msgspec.structs.replace(profile, queue=EXTERNAL_QUEUE)
        record = self._records.get(profile.agent_id, Record())
        event = agents.decide_registration(record.state, profile)
        await ensure_consumer(self._connection, task_queue_consumer(profile.queue or profile.agent_id))
        if event is not None:
            await self._change(
                profile.agent_id,
                lambda state: agents.decide_registration(state, profile),
                request.correlation_id,
            )
        return self._view(profile.agent_id)

    async def deregister(self, request: DeregisterAgent) -> AgentView:
        """Forget an agent; runs that name it are refused from now on."""
        agent_id = self._resolve(request.agent_id)
        view = self._view(agent_id)
        await self._change(
            agent_id,
            lambda state: agents.decide_deregistration(state, agent_id, request.reason),
            request.correlation_id,
        )
        return msgspec.structs.replace(view, position=self._records[agent_id].revision)

    async def get(self, request: GetAgent) -> AgentView:
        """Return one agent, by id or alias."""
        return self._view(self._resolve(request.agent_id))

    async def list(self, request: ListAgents) -> AgentList:
        """Return the agents that have all wanted capabilities and the wanted status, by id."""
        found: list[AgentView] = []
        for agent_id in sorted(self._records):
            profile = self._records[agent_id].state.profile
            if profile is None or not agents.has_capabilities(profile, request.capabilities):
                continue
            view = self._view(agent_id)
            if not request.status or view.status == request.status:
                found.append(view)
        return AgentList(agents=found)

    def _resolve(self, name: str) -> str:
        record = self._records.get(name)
        if record is not None and record.state.profile is not None:
            return name
        for agent_id, other in self._records.items():
            if other.state.profile is not None and name in other.state.profile.aliases:
                return agent_id
        known = sorted(agent_id for agent_id, other in self._records.items() if other.state.profile is not None)
        raise NotFoundError(f"no agent {name!r}; there are: {', '.join(known) or 'none'}")

    def _view(self, agent_id: str) -> AgentView:
        record = self._records[agent_id]
        state, now = record.state, self._clock()
        if state.profile is None:
            raise NotFoundError(f"no agent {agent_id!r} is registered")
        active = sum(heartbeat.active for heartbeat in record.instances.values())
        return AgentView(
            profile=state.profile,
            status="working" if active and state.status == agents.IDLE else state.status,
            health=state.health,
            registered_at=state.registered_at or now,
            last_seen=record.last_seen,
            instances=len(record.instances),
            active=active,
            position=record.revision,
        )

    # appending

    async def _change(
        self, agent_id: str, decide: Callable[[agents.Agent], Event | None], correlation_id: str = ""
    ) -> None:
        """Decide on the newest state and append; after a conflict, on the newest state again."""
        async with self._lock:
            for attempt in range(_TRIES):
                record = self._records.setdefault(agent_id, Record())
                event = decide(record.state)
                if event is None:
                    return
                try:
                    await self._append(agent_id, record, event, correlation_id)
                except RevisionConflictError as exc:
                    if attempt == _TRIES - 1:
                        raise ConflictError(f"agent {agent_id!r} is being changed by others; try again") from exc
                    await self._reload(agent_id, record)
                else:
                    return

    async def _append(self, agent_id: str, record: Record, event: Event, correlation_id: str) -> None:
        now = self._clock()
        new = NewEvent(
            aggregate_id=agent_id,
            event=event,
            message_id=new_id(),
            source=SOURCE,
            time=now,
            version=record.version + 1,
            correlation_id=correlation_id,
        )
        position = await self._store.append(new, record.revision)
        if position > record.revision:  # else the log brought it, and perhaps more, before the append was answered
            record.state = agents.evolve(record.state, event, now)
            record.revision, record.version = position, new.version
            self._look_at(record)
        kind = "agent_registered" if isinstance(event, AgentRegistered) else "agent_changed"
        self._log.info(kind, agent_id=agent_id, status=record.state.status, position=position)

    async def _reload(self, agent_id: str, record: Record) -> None:
        async for recorded in self._store.load(subjects.aggregate("agent", agent_id), record.revision):
            self.apply(recorded)


def now() -> datetime:
    """Return the time, UTC."""
    return datetime.now(UTC)
