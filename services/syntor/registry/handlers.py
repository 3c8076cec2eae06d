"""The shell around the agent aggregates: handles commands, follows the log and the heartbeats.

Several registries agree through the log: each follows it, and each append carries its expected revision.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import datetime
from urllib.parse import urlsplit

import msgspec

from syntor.contracts import subjects
from syntor.contracts.agent.v1 import AgentRegistered
from syntor.contracts.envelope import Lineage
from syntor.contracts.errors import InvalidInputError, NotFoundError, NotReachableError
from syntor.contracts.events import Event
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
from syntor.eventsourcing.aggregate import Aggregate, Aggregates
from syntor.eventsourcing.store import EventStore, Recorded
from syntor.jetstream.admin import ensure_consumer
from syntor.jetstream.connection import Connection
from syntor.registry.domain import agent as agents
from syntor.runtime.outgoing import AddressRules, RefusedAddressError, checked_addresses
from syntor.runtime.telemetry import get_logger

SOURCE = "registry"
_NO_LINEAGE = Lineage()
_ENVELOPE_BYTES = 1024  # of a reply, beside its rows


class Presence(msgspec.Struct):
    """Heartbeats of one agent; never in the log."""

    instances: dict[str, Heartbeat] = {}
    """Newest heartbeat of each instance within the presence TTL."""
    last_seen: datetime | None = None


class Registry:
    """Handles commands and queries about agents."""

    def __init__(
        self,
        connection: Connection,
        store: EventStore,
        clock: Callable[[], datetime],
        require_gateway: Callable[[], None] = lambda: None,
        closed_ports: Callable[[], frozenset[int]] = frozenset,
    ) -> None:
        """Prepare.

        Args:
            closed_ports: of this machine, those of the stack itself: no agent is at one of them.
        """
        self._connection = connection
        self._clock = clock
        self._require_gateway = require_gateway
        self._closed_ports = closed_ports
        self._agents: Aggregates[agents.Agent] = Aggregates(store, agents.DECIDER, SOURCE, cached=None)
        self._presence: dict[str, Presence] = {}
        self._log = get_logger()

    # what the log and the heartbeats say

    def apply(self, recorded: Recorded) -> None:
        """Fold an agent event; one that is folded already changes nothing."""
        agent = self._agents.get(subjects.parse_event(recorded.subject).aggregate_id)
        agent.fold(recorded)
        self._ensure_gateway(agent)

    def _ensure_gateway(self, agent: Aggregate[agents.Agent]) -> None:
        if agent.state.profile is not None and agent.state.profile.endpoint:
            self._require_gateway()

    async def on_heartbeat(self, heartbeat: Heartbeat) -> None:
        """Record a heartbeat; a change of the agent's status or health is appended."""
        presence = self._presence_of(heartbeat.agent_id)
        presence.instances[heartbeat.instance] = heartbeat
        presence.last_seen = heartbeat.time or self._clock()
        await self._change(
            heartbeat.agent_id, lambda state: agents.decide_heartbeat(state, presence.instances.values())
        )

    async def on_expired(self, agent_id: str, instance: str) -> None:
        """Record that an instance is offline; with its last instance the agent goes offline.

        An instance without a heartbeat here expired before this registry listened, which says nothing about the agent.
        """
        presence = self._presence_of(agent_id)
        if presence.instances.pop(instance, None) is None:
            return
        if presence.instances:
            await self._change(agent_id, lambda state: agents.decide_heartbeat(state, presence.instances.values()))
        else:
            await self._change(agent_id, lambda state: agents.decide_expiry(state, PRESENCE_TTL_S))

    async def check_absent(self) -> None:
        """Take every agent without a heartbeat offline; to be called after a presence TTL of listening."""
        for agent in self._agents:
            profile = agent.state.profile
            if profile is not None and not profile.endpoint and not self._presence_of(agent.id).instances:
                await self._change(agent.id, lambda state: agents.decide_expiry(state, PRESENCE_TTL_S))

    def _presence_of(self, agent_id: str) -> Presence:
        return self._presence.setdefault(agent_id, Presence())

    # commands

    async def register(self, request: RegisterAgent) -> AgentView:
        """Register an agent; the consumer of its queue exists before a task can be assigned to it."""
        profile = request.profile
        if profile.endpoint and not profile.queue:
            profile = msgspec.structs.replace(profile, queue=EXTERNAL_QUEUE)
        known = self._agents.find(profile.agent_id)
        others = [one.state.profile for one in self._agents if one.state.profile and one.id != profile.agent_id]
        agents.decide_registration(known.state if known is not None else agents.INITIAL, profile, others)
        if profile.endpoint:
            await self._check_endpoint(profile.endpoint)
        await ensure_consumer(self._connection, task_queue_consumer(profile.queue or profile.agent_id))
        await self._change(
            profile.agent_id, lambda state: agents.decide_registration(state, profile, others), _lineage(request)
        )
        return self._view(profile.agent_id)

    async def _check_endpoint(self, endpoint: str) -> None:
        """Refuse an address that may not be called; each call judges it again. A name without one now is accepted.

        Raises:
            InvalidInputError: it is refused, or is no URL.
        """
        try:
            address = urlsplit(endpoint)
            port = address.port or (443 if address.scheme == "https" else 80)
        except ValueError as exc:
            raise InvalidInputError(f"endpoint {endpoint!r}: {exc}", field="endpoint") from exc
        try:
            with contextlib.suppress(NotReachableError):
                await checked_addresses(address.hostname or "", port, AddressRules(closed_ports=self._closed_ports()))
        except RefusedAddressError as exc:
            raise InvalidInputError(f"endpoint {endpoint!r}: {exc}", field="endpoint") from exc

    async def deregister(self, request: DeregisterAgent) -> AgentView:
        """Deregister an agent; runs that name it are refused from now on."""
        agent_id = self._resolve(request.agent_id)
        view = self._view(agent_id)
        named = msgspec.structs.replace(request, agent_id=agent_id)
        await self._change(agent_id, lambda state: agents.decide_deregistration(state, named), _lineage(request))
        return msgspec.structs.replace(view, position=self._agents.get(agent_id).revision)

    async def get(self, request: GetAgent) -> AgentView:
        """Return one agent, by id or alias."""
        return self._view(self._resolve(request.agent_id))

    async def list(self, request: ListAgents) -> AgentList:
        """Return the agents that have all required capabilities and the required status, by id; as many as fit."""
        found: list[AgentView] = []
        left = self._connection.max_payload - _ENVELOPE_BYTES
        for agent in sorted(self._agents, key=lambda agent: agent.id):
            if agent.id <= request.after:
                continue
            profile = agent.state.profile
            if profile is None or not agents.has_capabilities(profile, request.capabilities):
                continue
            view = self._view(agent.id)
            if request.status is None or view.status == request.status:
                left -= len(msgspec.json.encode(view)) + 1  # the comma
                if left < 0 and found:
                    return AgentList(agents=found, cursor=found[-1].profile.agent_id)
                found.append(view)
        return AgentList(agents=found)

    def _resolve(self, name: str) -> str:
        registered = {agent.id: agent.state.profile for agent in self._agents if agent.state.profile is not None}
        if name in registered:
            return name
        for agent_id, profile in registered.items():
            if name in profile.aliases:
                return agent_id
        raise NotFoundError(f"no agent {name!r}; registered: {', '.join(sorted(registered)) or 'none'}")

    def _view(self, agent_id: str) -> AgentView:
        agent = self._agents.get(agent_id)
        state, presence = agent.state, self._presence_of(agent_id)
        if state.profile is None:
            raise NotFoundError(f"no agent {agent_id!r} is registered")
        active = sum(heartbeat.active for heartbeat in presence.instances.values())
        return AgentView(
            profile=state.profile,
            status="working" if active and state.status == "idle" else state.status,
            health=state.health,
            registered_at=state.registered_at or self._clock(),
            last_seen=presence.last_seen,
            instances=len(presence.instances),
            active=active,
            position=agent.revision,
        )

    async def _change(
        self, agent_id: str, decide: Callable[[agents.Agent], Event | None], lineage: Lineage = _NO_LINEAGE
    ) -> None:
        """Append what a command or heartbeat calls for; this registry follows the log, so "nothing" needs no read."""
        async with self._agents.hold(agent_id) as agent:
            for event in await agent.transact(decide, lineage, self._clock(), confirm=False, limit=1):
                kind = "agent_registered" if isinstance(event, AgentRegistered) else "agent_changed"
                self._log.info(kind, agent_id=agent_id, status=agent.state.status, position=agent.revision)
            self._ensure_gateway(agent)


def _lineage(request: RegisterAgent | DeregisterAgent) -> Lineage:
    return Lineage(correlation_id=request.correlation_id, caller=request.caller, caller_state=request.caller_state)
