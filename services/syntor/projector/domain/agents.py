"""The table of agents."""

from __future__ import annotations

import msgspec

from syntor.contracts.agent.v1 import AgentDeregistered, AgentProfile, AgentRegistered, AgentStatusChanged
from syntor.eventsourcing.store import Recorded
from syntor.projections.projection import Row, RowKey, Rows, Table
from syntor.projector.domain.columns import INTEGER, TEXT, timestamp

AGENTS = Table(
    "agents",
    {
        "agent_id": TEXT, "name": TEXT, "profile": TEXT, "status": TEXT, "health": TEXT, "registered_at": TEXT,
        "position": INTEGER,
    },
)  # fmt: skip


def keys(recorded: Recorded) -> list[RowKey]:
    """Return the agent whose row an event may read or change."""
    category, _, agent_id = recorded.envelope.subject.partition(".")
    return [(AGENTS.name, agent_id)] if category == "agent" else []


def apply(rows: Rows, recorded: Recorded) -> None:
    """Change the row of an agent by one event."""
    agent_id = recorded.envelope.subject.removeprefix("agent.")
    match recorded.event:
        case AgentRegistered(profile=profile):
            rows.put(AGENTS.name, agent_id, _registered(rows, recorded, agent_id, profile))
        case AgentStatusChanged(status=status, health=health):
            changes = {"status": status, "health": health, "position": recorded.position}
            rows.update(AGENTS.name, agent_id, lambda _: changes)
        case AgentDeregistered():
            rows.update(AGENTS.name, agent_id, lambda _: {"status": "deregistered", "position": recorded.position})
        case _:
            return


def _registered(rows: Rows, recorded: Recorded, agent_id: str, profile: AgentProfile) -> Row:
    """Return the row of a registered agent; one that updates its profile keeps status and registration time."""
    known = rows.get(AGENTS.name, agent_id)
    kept = known if known is not None and known["status"] != "deregistered" else None
    return {
        "agent_id": agent_id,
        "name": profile.name,
        "profile": msgspec.json.encode(profile, order="sorted").decode(),
        "status": kept["status"] if kept else "idle",
        "health": kept["health"] if kept else "unknown",
        "registered_at": kept["registered_at"] if kept else timestamp(recorded.envelope.time),
        "position": recorded.position,
    }
