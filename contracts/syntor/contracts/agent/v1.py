"""Agent events, schema version 1. Frozen once released: only optional fields are added."""

from __future__ import annotations

import msgspec


class Capability(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something an agent can do."""

    name: str
    """Compared without regard to case."""
    version: str = "1.0"
    """Compared by its major number."""
    description: str = ""
    """For people and for models that route."""


class AgentProfile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an agent says of itself when it registers."""

    agent_id: str
    """Unique; also its queue unless `queue` says otherwise."""
    name: str
    """For people."""
    type: str = "service"
    """service or worker."""
    version: str = "1.0.0"
    """Of the agent's code or manifest."""
    description: str = ""
    """One line: what to ask it for."""
    capabilities: list[Capability] = []
    """What it can do."""
    endpoint: str = ""
    """URL of an external HTTP agent; empty for an agent that takes tasks from its queue itself."""
    queue: str = ""
    """Task queue; empty: the agent id. An agent with an endpoint is served by the queue `external`."""
    model: str = ""
    """Model it prefers, `provider/name`."""
    aliases: list[str] = []
    """Other names people may call it by."""
    max_concurrent: int = 10
    """Tasks one instance works on at once."""
    priority: int = 128
    """0 to 255, higher first."""
    metadata: dict[str, str] = {}
    """The owner's own labels."""


class AgentRegistered(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The agent is known from now on; it is also the update of one known before."""

    profile: AgentProfile
    """Its record, whole."""


class AgentStatusChanged(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The agent went on or off line, or its health changed. Heartbeats themselves are never in the log."""

    status: str
    """idle, busy, working, blocked, collaborating, draining or offline."""
    health: str = "unknown"
    """healthy, degraded, unhealthy or unknown."""
    reason: str = ""
    """Why, for people."""


class AgentDeregistered(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The agent is no longer known; runs that name it are refused."""

    reason: str = ""
    """Why, for people."""


AgentEvent = AgentRegistered | AgentStatusChanged | AgentDeregistered
EVENTS: tuple[type[AgentEvent], ...] = (AgentRegistered, AgentStatusChanged, AgentDeregistered)
