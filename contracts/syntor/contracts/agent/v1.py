"""Agent events, schema version 1. Frozen once released: only optional fields are added."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from syntor.contracts.bounds import Id, Labels, LimitCount, Line, Message, Name, Priority
from syntor.contracts.vocabulary import AgentHealth, AgentKind, AgentStatus


class Capability(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something an agent can do."""

    name: Line
    """Compared without regard to case."""
    version: Name = "1.0"
    """Compared by its major number."""
    description: Line = ""
    """For people and for models that route."""


class AgentProfile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Record an agent registers with."""

    agent_id: Id
    """Unique; also its queue unless `queue` says otherwise."""
    name: Line
    """For people."""
    type: AgentKind = "service"
    """Kind of agent."""
    version: Name = "1.0.0"
    """Of the agent's code or manifest."""
    description: Line = ""
    """What the agent is for, one line."""
    capabilities: Annotated[list[Capability], Meta(max_length=1000)] = []
    """What it can do."""
    endpoint: Line = ""
    """URL of an external HTTP agent; empty for an agent that takes tasks from its queue itself."""
    queue: Id = ""
    """Task queue; empty: the agent id. An agent with an endpoint is served by the queue `external`."""
    model: Name = ""
    """Model it prefers, `provider/name`."""
    aliases: Annotated[list[Name], Meta(max_length=100)] = []
    """Alternative names."""
    max_concurrent: LimitCount = 10
    """Tasks one instance works on concurrently."""
    priority: Priority = 128
    """0 to 255, higher first."""
    idempotent: bool = False
    """Whether an external agent may be called again with the same idempotency key, without a second effect."""
    metadata: Labels = {}
    """The owner's own labels."""
    owner: Name = ""
    """Name of the token an external agent was registered with; empty: it was registered without one."""


class AgentRegistered(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The agent is registered, or its record updated."""

    profile: AgentProfile
    """The whole record."""


class AgentStatusChanged(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The agent's status or health changed. Heartbeats themselves never enter the log."""

    status: AgentStatus
    """New status."""
    health: AgentHealth = "unknown"
    """New health."""
    reason: Message = ""
    """Why, for people."""


class AgentDeregistered(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The agent is no longer registered; runs that name it are refused."""

    reason: Message = ""
    """Why, for people."""


AgentEvent = AgentRegistered | AgentStatusChanged | AgentDeregistered
EVENTS: tuple[type[AgentEvent], ...] = (AgentRegistered, AgentStatusChanged, AgentDeregistered)
