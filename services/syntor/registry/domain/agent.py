"""Pure agent aggregate: state, evolve and one decide function per command.

Commands are request/reply, so deciding raises rejections. Heartbeats never enter the log; changes of status do.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import msgspec

from syntor.contracts.agent.v1 import (
    AgentDeregistered,
    AgentProfile,
    AgentRegistered,
    AgentStatusChanged,
)
from syntor.contracts.errors import InvalidInputError, NotFoundError
from syntor.contracts.events import Event
from syntor.contracts.ids import is_token
from syntor.contracts.rpc.v1 import Heartbeat
from syntor.contracts.vocabulary import AgentHealth, AgentStatus
from syntor.eventsourcing.decider import Decider

_BEST_FIRST: tuple[AgentHealth, ...] = ("healthy", "degraded", "unhealthy")


class Agent(msgspec.Struct, frozen=True):
    """State of one agent."""

    profile: AgentProfile | None = None
    """None: not registered, or deregistered."""
    status: AgentStatus = "offline"
    health: AgentHealth = "unknown"
    registered_at: datetime | None = None
    """When it was first registered; an update keeps it."""


INITIAL = Agent()


def evolve(agent: Agent, event: Event, at: datetime) -> Agent:
    """Apply one event; `at` is its envelope time."""
    match event:
        case AgentRegistered(profile=profile):
            first = agent.profile is None
            status: AgentStatus = "idle" if first else agent.status
            health: AgentHealth = "unknown" if first else agent.health
            if profile.endpoint and status == "offline":  # called over HTTP: it sends no heartbeats
                status = "idle"
            return Agent(profile, status, health, at if first else agent.registered_at)
        case AgentStatusChanged(status=status, health=health):
            return msgspec.structs.replace(agent, status=status, health=health)
        case AgentDeregistered():
            return INITIAL
        case _:
            return agent


DECIDER: Decider[Agent] = Decider(category="agent", initial=INITIAL, evolve=evolve)


def decide_registration(agent: Agent, profile: AgentProfile) -> AgentRegistered | None:
    """Return the event that makes a profile the agent's record, or None when it is that already.

    Raises:
        InvalidInputError: a field of the profile cannot be accepted.
    """
    if not is_token(profile.agent_id):
        raise InvalidInputError(
            f"agent_id {profile.agent_id!r}: use 1 to 64 letters, digits, '_' or '-'", field="agent_id"
        )
    if profile.queue and not is_token(profile.queue):
        raise InvalidInputError(f"queue {profile.queue!r}: use 1 to 64 letters, digits, '_' or '-'", field="queue")
    if not profile.name.strip():
        raise InvalidInputError("name: must not be empty", field="name")
    if profile.endpoint and not profile.endpoint.startswith(("http://", "https://")):
        raise InvalidInputError(f"endpoint {profile.endpoint!r}: expected http:// or https://", field="endpoint")
    return None if agent.profile == profile else AgentRegistered(profile=profile)


def decide_deregistration(agent: Agent, agent_id: str, reason: str) -> AgentDeregistered:
    """Return the event that deregisters an agent.

    Raises:
        NotFoundError: there is no such agent.
    """
    if agent.profile is None:
        raise NotFoundError(f"no agent {agent_id!r} is registered")
    return AgentDeregistered(reason=reason)


def decide_heartbeat(agent: Agent, heartbeats: Collection[Heartbeat]) -> AgentStatusChanged | None:
    """Return what the newest heartbeats of its instances change; None: nothing.

    An agent has the health of its healthiest instance, and drains when all of its instances do.
    """
    if agent.profile is None or not heartbeats:
        return None
    draining = all(heartbeat.status == "draining" for heartbeat in heartbeats)
    status: AgentStatus = "draining" if draining else "idle"
    reported: set[AgentHealth] = {heartbeat.health for heartbeat in heartbeats}
    health = _best(reported)
    if (agent.status, agent.health) == (status, health):
        return None
    return AgentStatusChanged(status=status, health=health, reason="heartbeat")


def decide_expiry(agent: Agent, silence_s: float) -> AgentStatusChanged | None:
    """Return what the expiry of the last heartbeat changes; None: the agent is offline already."""
    if agent.profile is None or agent.status == "offline":
        return None
    return AgentStatusChanged(status="offline", health="unknown", reason=f"no heartbeat for {silence_s:g} s")


def has_capabilities(profile: AgentProfile, required: list[str]) -> bool:
    """Return whether an agent has all required capabilities: names case-insensitive, `name@version` by its major."""
    have = {(capability.name.casefold(), _major(capability.version)) for capability in profile.capabilities}
    names = {name for name, _ in have}
    for text in required:
        name, separator, version = text.casefold().partition("@")
        if not ((name, _major(version)) in have if separator else name in names):
            return False
    return True


def _major(version: str) -> str:
    return version.lstrip("v").partition(".")[0]


def _best(reported: Collection[str]) -> AgentHealth:
    for health in _BEST_FIRST:
        if health in reported:
            return health
    return "unknown"
