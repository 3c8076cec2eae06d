"""What an agent's record is and what may be done with it: pure.

Commands are answered at once, so deciding raises rejections. Heartbeats never enter the log; coming and going do.
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

OFFLINE = "offline"
IDLE = "idle"
DRAINING = "draining"
UNKNOWN = "unknown"
MAX_PRIORITY = 255
_BEST_FIRST = ("healthy", "degraded", "unhealthy")


class Agent(msgspec.Struct, frozen=True):
    """State of one agent."""

    profile: AgentProfile | None = None
    """None: not registered, or not any more."""
    status: str = OFFLINE
    health: str = UNKNOWN
    registered_at: datetime | None = None
    """When it was registered first; an update keeps it."""


INITIAL = Agent()


def evolve(agent: Agent, event: Event, at: datetime) -> Agent:
    """Apply one fact; `at` is its envelope time."""
    match event:
        case AgentRegistered(profile=profile):
            first = agent.profile is None
            status, health = (IDLE, UNKNOWN) if first else (agent.status, agent.health)
            if profile.endpoint and status == OFFLINE:  # reached over HTTP from now on: no heartbeat will tell
                status = IDLE
            return Agent(profile, status, health, at if first else agent.registered_at)
        case AgentStatusChanged(status=status, health=health):
            return msgspec.structs.replace(agent, status=status, health=health)
        case AgentDeregistered():
            return INITIAL
        case _:
            return agent


def decide_registration(agent: Agent, profile: AgentProfile) -> AgentRegistered | None:
    """Return the event that makes a profile the agent's record, or None when it is already.

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
    if not 0 <= profile.priority <= MAX_PRIORITY:
        raise InvalidInputError(f"priority {profile.priority}: expected 0 to {MAX_PRIORITY}", field="priority")
    if profile.max_concurrent < 1:
        raise InvalidInputError(f"max_concurrent {profile.max_concurrent}: expected at least 1", field="max_concurrent")
    return None if agent.profile == profile else AgentRegistered(profile=profile)


def decide_deregistration(agent: Agent, agent_id: str, reason: str) -> AgentDeregistered:
    """Return the event that forgets an agent.

    Raises:
        NotFoundError: there is no such agent.
    """
    if agent.profile is None:
        raise NotFoundError(f"no agent {agent_id!r} is registered")
    return AgentDeregistered(reason=reason)


def decide_seen(agent: Agent, heartbeats: Collection[Heartbeat]) -> AgentStatusChanged | None:
    """Return what the newest heartbeats of its instances change; None: nothing.

    An agent is as well as the best of its instances, and drains when all of them do.
    """
    if agent.profile is None or not heartbeats:
        return None
    status = DRAINING if all(heartbeat.status == DRAINING for heartbeat in heartbeats) else IDLE
    said = {heartbeat.health for heartbeat in heartbeats}
    health = next((health for health in _BEST_FIRST if health in said), UNKNOWN)
    if (agent.status, agent.health) == (status, health):
        return None
    return AgentStatusChanged(status=status, health=health, reason="heartbeat")


def decide_gone(agent: Agent, silence_s: float) -> AgentStatusChanged | None:
    """Return what the loss of the last instance changes; None: it is known to be offline already."""
    if agent.profile is None or agent.status == OFFLINE:
        return None
    return AgentStatusChanged(status=OFFLINE, health=UNKNOWN, reason=f"no heartbeat for {silence_s:g} s")


def has_capabilities(profile: AgentProfile, wanted: list[str]) -> bool:
    """Tell whether an agent has all wanted capabilities: names without regard to case, `name@version` by its major."""
    have = {(capability.name.casefold(), _major(capability.version)) for capability in profile.capabilities}
    names = {name for name, _ in have}
    for text in wanted:
        name, separator, version = text.casefold().partition("@")
        if not ((name, _major(version)) in have if separator else name in names):
            return False
    return True


def _major(version: str) -> str:
    return version.lstrip("v").partition(".")[0]
