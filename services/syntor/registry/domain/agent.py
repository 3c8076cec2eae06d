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
from syntor.contracts.errors import ConflictError, InvalidInputError, NotFoundError
from syntor.contracts.events import Event
from syntor.contracts.ids import is_token
from syntor.contracts.rpc.v1 import DeregisterAgent, Heartbeat
from syntor.contracts.topology import BUILT_IN_AGENTS, EXTERNAL_QUEUE, RESERVED_AGENT_NAMES
from syntor.contracts.vocabulary import AgentHealth, AgentStatus
from syntor.eventsourcing.decider import Decider

_BEST_FIRST: tuple[AgentHealth, ...] = ("healthy", "degraded", "unhealthy")
MAX_PROFILE_BYTES = 256 * 1024  # of JSON; every prompt of an agent that delegates names its peers


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


def decide_registration(
    agent: Agent, profile: AgentProfile, others: Collection[AgentProfile] = ()
) -> AgentRegistered | None:
    """Return the event that makes a profile the agent's record, or None when it is that already.

    Args:
        others: profiles of the other registered agents.

    Raises:
        InvalidInputError: a field of the profile cannot be accepted.
        ConflictError: the id or an alias belongs to another agent or owner.
    """
    _check_fields(profile)
    if profile.endpoint:
        _check_external(agent.profile, profile, others)
    else:
        _check_served(agent.profile, profile)
    return None if agent.profile == profile else AgentRegistered(profile=profile)


def _check_fields(profile: AgentProfile) -> None:
    if not is_token(profile.agent_id):
        raise InvalidInputError(
            f"agent_id {profile.agent_id!r}: use 1 to 64 letters, digits, '_' or '-'", field="agent_id"
        )
    queue = EXTERNAL_QUEUE if profile.endpoint else profile.agent_id
    if profile.queue not in ("", queue):
        raise InvalidInputError(f"queue {profile.queue!r}: expected {queue!r}, or none", field="queue")
    if not profile.name.strip():
        raise InvalidInputError("name: must not be empty", field="name")
    if profile.endpoint and not profile.endpoint.startswith(("http://", "https://")):
        raise InvalidInputError(f"endpoint {profile.endpoint!r}: expected http:// or https://", field="endpoint")
    if (size := len(msgspec.json.encode(profile))) > MAX_PROFILE_BYTES:
        raise InvalidInputError(
            f"the record has {size} bytes, at most {MAX_PROFILE_BYTES} are allowed: shorten capabilities or metadata",
            field="capabilities",
        )


def _check_external(known: AgentProfile | None, profile: AgentProfile, others: Collection[AgentProfile]) -> None:
    """Check that an external agent takes no name, and no record, of another agent."""
    names = [profile.agent_id, *profile.aliases]
    if reserved := [name for name in names if name in RESERVED_AGENT_NAMES]:
        raise ConflictError(f"{reserved[0]!r} belongs to a built-in agent; choose another id or alias")
    if known is not None and not known.endpoint:
        raise ConflictError(f"agent {profile.agent_id!r} is user-defined, by a manifest; choose another id")
    if known is not None and known.owner and known.owner != profile.owner:
        raise ConflictError(
            f"agent {profile.agent_id!r} was registered with the token {known.owner!r}; use that token or another id"
        )
    taken = {name: other.agent_id for other in others for name in (other.agent_id, *other.aliases)}
    if conflicts := [name for name in names if name in taken]:
        name = conflicts[0]
        raise ConflictError(f"{name!r} is an id or alias of agent {taken[name]!r}; choose another id or alias")


def _check_served(known: AgentProfile | None, profile: AgentProfile) -> None:
    """Check that an agent with a service of its own takes no record of an external one; built-in agents always win."""
    if profile.agent_id == EXTERNAL_QUEUE:
        raise ConflictError(f"agent_id {EXTERNAL_QUEUE!r} is reserved for the tasks of external agents; choose another")
    if known is not None and known.endpoint and profile.agent_id not in BUILT_IN_AGENTS:
        raise ConflictError(
            f"an external agent has the id {profile.agent_id!r}; deregister it (DELETE /v1/agents/{profile.agent_id}) "
            "or choose another id"
        )


def decide_deregistration(agent: Agent, request: DeregisterAgent) -> AgentDeregistered:
    """Return the event that deregisters an agent.

    Raises:
        NotFoundError: there is no such agent.
        ConflictError: it belongs to its manifest's service, or to another owner.
    """
    profile = agent.profile
    if profile is None:
        raise NotFoundError(f"no agent {request.agent_id!r} is registered")
    if request.external and not profile.endpoint:
        remedy = "it cannot be removed" if profile.agent_id in BUILT_IN_AGENTS else "remove its manifest instead"
        kind = "built-in" if profile.agent_id in BUILT_IN_AGENTS else "user-defined"
        raise ConflictError(f"agent {profile.agent_id!r} is {kind}: {remedy}")
    if request.owner and profile.owner and request.owner != profile.owner:
        raise ConflictError(f"agent {profile.agent_id!r} was registered with the token {profile.owner!r}; use that one")
    return AgentDeregistered(reason=request.reason)


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
