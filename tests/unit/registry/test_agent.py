"""What may be done with an agent's record, and what heartbeats change."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from syntor.contracts.agent.v1 import AgentDeregistered, AgentProfile, AgentRegistered, AgentStatusChanged, Capability
from syntor.contracts.errors import InvalidInputError, NotFoundError
from syntor.registry.domain import agent as agents

AT = datetime(2026, 11, 21, tzinfo=UTC)
LATER = datetime(2026, 11, 22, tzinfo=UTC)
PROFILE = AgentProfile(
    agent_id="git", name="Git", capabilities=[Capability(name="Git", version="1.4"), Capability(name="review")]
)
KNOWN = agents.evolve(agents.INITIAL, AgentRegistered(profile=PROFILE), AT)


def test_registering_is_an_event_once_and_an_update_keeps_the_first_time() -> None:
    assert agents.decide_registration(agents.INITIAL, PROFILE) == AgentRegistered(profile=PROFILE)
    assert agents.decide_registration(KNOWN, PROFILE) is None
    changed = AgentProfile(agent_id="git", name="Git 2")
    event = agents.decide_registration(KNOWN, changed)
    assert event is not None
    assert agents.evolve(KNOWN, event, LATER).registered_at == AT


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("agent_id", "a.b"),
        ("name", " "),
        ("endpoint", "ftp://x"),
        ("priority", 256),
        ("max_concurrent", 0),
        ("queue", "a b"),
    ],
)
def test_a_wrong_field_is_refused_by_name(field: str, value: Any) -> None:
    fields: dict[str, Any] = {"agent_id": "git", "name": "Git", field: value}
    with pytest.raises(InvalidInputError) as caught:
        agents.decide_registration(agents.INITIAL, AgentProfile(**fields))
    assert caught.value.field == field
    assert str(value).strip() in str(caught.value)


def test_deregistering_forgets_and_an_unknown_agent_is_not_found() -> None:
    event = agents.decide_deregistration(KNOWN, "git", "gone")
    assert event == AgentDeregistered(reason="gone")
    assert agents.evolve(KNOWN, event, LATER) == agents.INITIAL
    with pytest.raises(NotFoundError, match="git"):
        agents.decide_deregistration(agents.INITIAL, "git", "")


def test_going_and_coming_back_are_recorded_once_and_heartbeats_are_not() -> None:
    healthy = agents.decide_seen(KNOWN, "healthy")
    assert healthy == AgentStatusChanged(status="idle", health="healthy", reason="heartbeat")
    online = agents.evolve(KNOWN, healthy, AT)
    assert agents.decide_seen(online, "healthy") is None
    gone = agents.decide_gone(online, 30)
    assert gone is not None
    offline = agents.evolve(online, gone, AT)
    assert agents.decide_gone(offline, 30) is None
    assert agents.decide_seen(offline, "healthy") == healthy
    assert agents.decide_seen(agents.INITIAL, "healthy") is None


@pytest.mark.parametrize(
    ("wanted", "has"),
    [([], True), (["git"], True), (["GIT", "Review"], True), (["git@1.0"], True), (["git@2"], False), (["fly"], False)],
)
def test_capabilities_are_found_whatever_their_case_by_major_version(wanted: list[str], has: bool) -> None:
    assert agents.has_capabilities(PROFILE, wanted) is has
