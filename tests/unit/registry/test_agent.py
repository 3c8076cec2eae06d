"""What may be done with an agent's record, and what heartbeats change."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from syntor.contracts.agent.v1 import AgentDeregistered, AgentProfile, AgentRegistered, AgentStatusChanged, Capability
from syntor.contracts.errors import InvalidInputError, NotFoundError
from syntor.contracts.rpc.v1 import Heartbeat
from syntor.registry.domain import agent as agents

AT = datetime(2026, 11, 21, tzinfo=UTC)
LATER = datetime(2026, 11, 22, tzinfo=UTC)
PROFILE = AgentProfile(
    agent_id="git", name="Git", capabilities=[Capability(name="Git", version="1.4"), Capability(name="review")]
)
BEAT = Heartbeat(agent_id="git", instance="i1")
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
        ("queue", "a b"),
    ],
)
def test_a_wrong_field_is_refused_by_name(field: str, value: Any) -> None:
    fields: dict[str, Any] = {"agent_id": "git", "name": "Git", field: value}
    with pytest.raises(InvalidInputError) as caught:
        agents.decide_registration(agents.INITIAL, AgentProfile(**fields))
    assert caught.value.field == field
    assert str(value).strip() in str(caught.value)


@pytest.mark.parametrize(("field", "value"), [("priority", 256), ("priority", -1), ("max_concurrent", 0)])
def test_a_number_out_of_bounds_is_no_profile(field: str, value: int) -> None:
    with pytest.raises(msgspec.ValidationError, match=field):
        msgspec.convert({"agent_id": "git", "name": "Git", field: value}, AgentProfile)


def test_deregistering_forgets_and_an_unknown_agent_is_not_found() -> None:
    event = agents.decide_deregistration(KNOWN, "git", "gone")
    assert event == AgentDeregistered(reason="gone")
    assert agents.evolve(KNOWN, event, LATER) == agents.INITIAL
    with pytest.raises(NotFoundError, match="git"):
        agents.decide_deregistration(agents.INITIAL, "git", "")


def test_going_and_coming_back_are_recorded_once_and_heartbeats_are_not() -> None:
    healthy = agents.decide_heartbeat(KNOWN, [BEAT])
    assert healthy is not None
    assert healthy == AgentStatusChanged(status="idle", health="healthy", reason="heartbeat")
    online = agents.evolve(KNOWN, healthy, AT)
    assert agents.decide_heartbeat(online, [BEAT]) is None
    gone = agents.decide_expiry(online, 30)
    assert gone is not None
    offline = agents.evolve(online, gone, AT)
    assert agents.decide_expiry(offline, 30) is None
    assert agents.decide_heartbeat(offline, [BEAT]) == healthy
    assert agents.decide_heartbeat(agents.INITIAL, [BEAT]) is None


def test_several_instances_are_as_well_as_the_best_and_drain_together() -> None:
    online = agents.evolve(KNOWN, AgentStatusChanged(status="idle", health="healthy", reason=""), AT)
    draining = Heartbeat(agent_id="git", instance="i2", status="draining")
    ill = Heartbeat(agent_id="git", instance="i3", health="unhealthy")
    assert agents.decide_heartbeat(online, [BEAT, draining, ill]) is None
    assert agents.decide_heartbeat(online, [draining]) == AgentStatusChanged(
        status="draining", health="healthy", reason="heartbeat"
    )
    assert agents.decide_heartbeat(online, [ill]) == AgentStatusChanged(
        status="idle", health="unhealthy", reason="heartbeat"
    )
    unsure = Heartbeat(agent_id="git", instance="i4", health="unknown")
    assert agents.decide_heartbeat(online, [unsure]) == AgentStatusChanged(
        status="idle", health="unknown", reason="heartbeat"
    )
    assert agents.decide_heartbeat(online, []) is None


def test_an_agent_given_an_endpoint_is_reached_without_heartbeats() -> None:
    offline = agents.evolve(KNOWN, AgentStatusChanged(status="offline", health="unknown", reason=""), AT)
    moved = AgentProfile(agent_id="git", name="Git", endpoint="http://127.0.0.1:9")
    assert agents.evolve(offline, AgentRegistered(profile=moved), LATER).status == "idle"
    again = AgentProfile(agent_id="git", name="Git 2")
    assert agents.evolve(offline, AgentRegistered(profile=again), LATER).status == "offline"


@pytest.mark.parametrize(
    ("wanted", "has"),
    [([], True), (["git"], True), (["GIT", "Review"], True), (["git@1.0"], True), (["git@2"], False), (["fly"], False)],
)
def test_capabilities_are_found_whatever_their_case_by_major_version(wanted: list[str], has: bool) -> None:
    assert agents.has_capabilities(PROFILE, wanted) is has
