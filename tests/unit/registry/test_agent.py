"""What may be done with an agent's record, and what heartbeats change."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from syntor.contracts.agent.v1 import AgentDeregistered, AgentProfile, AgentRegistered, AgentStatusChanged, Capability
from syntor.contracts.errors import ConflictError, InvalidInputError, NotFoundError
from syntor.contracts.rpc.v1 import DeregisterAgent, Heartbeat
from syntor.contracts.topology import RESERVED_AGENT_NAMES
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
    event = agents.decide_deregistration(KNOWN, DeregisterAgent(agent_id="git", reason="gone"))
    assert event == AgentDeregistered(reason="gone")
    assert agents.evolve(KNOWN, event, LATER) == agents.INITIAL
    with pytest.raises(NotFoundError, match="git"):
        agents.decide_deregistration(agents.INITIAL, DeregisterAgent(agent_id="git"))


def _external(agent_id: str, owner: str = "", **changes: Any) -> AgentProfile:
    return AgentProfile(agent_id=agent_id, name="X", endpoint="http://127.0.0.1:9", owner=owner, **changes)


def _known(profile: AgentProfile) -> agents.Agent:
    return agents.evolve(agents.INITIAL, AgentRegistered(profile=profile), AT)


POET = AgentProfile(agent_id="poet", name="Poet", aliases=["bard"])


@pytest.mark.parametrize("name", sorted(RESERVED_AGENT_NAMES))
def test_an_external_agent_has_no_name_of_a_built_in_one(name: str) -> None:
    for profile in (_external(name), _external("mine", aliases=["free", name])):
        with pytest.raises(ConflictError, match=f"'{name}' belongs to a built-in agent"):
            agents.decide_registration(agents.INITIAL, profile)


@pytest.mark.parametrize("names", [("poet", []), ("bard", []), ("mine", ["poet"]), ("mine", ["bard"])])
def test_an_external_agent_has_no_name_of_a_registered_one(names: tuple[str, list[str]]) -> None:
    profile = _external(names[0], aliases=names[1])
    state = _known(POET) if names[0] == "poet" else agents.INITIAL
    others = [] if names[0] == "poet" else [POET]
    with pytest.raises(ConflictError, match="poet"):
        agents.decide_registration(state, profile, others)


def test_an_external_agent_is_replaced_by_its_owner_only() -> None:
    mine = _external("mine", "alice")
    moved = msgspec.structs.replace(mine, endpoint="http://127.0.0.1:10")
    assert agents.decide_registration(_known(mine), moved) == AgentRegistered(profile=moved)
    for other in ("bob", ""):
        with pytest.raises(ConflictError, match="token 'alice'"):
            agents.decide_registration(_known(mine), msgspec.structs.replace(moved, owner=other))
    adopted = msgspec.structs.replace(mine, owner="bob")
    assert agents.decide_registration(_known(_external("mine")), adopted) == AgentRegistered(profile=adopted)


def test_a_manifest_takes_no_external_agents_record_and_a_built_in_agent_does() -> None:
    with pytest.raises(ConflictError, match="DELETE /v1/agents/mine"):
        agents.decide_registration(_known(_external("mine")), AgentProfile(agent_id="mine", name="Mine"))
    assert agents.decide_registration(_known(_external("git")), PROFILE) == AgentRegistered(profile=PROFILE)
    with pytest.raises(ConflictError, match="reserved"):
        agents.decide_registration(agents.INITIAL, AgentProfile(agent_id="external", name="E"))


@pytest.mark.parametrize(("profile", "remedy"), [(PROFILE, "cannot be removed"), (POET, "remove its manifest")])
def test_only_external_agents_are_deregistered_from_outside(profile: AgentProfile, remedy: str) -> None:
    with pytest.raises(ConflictError, match=remedy):
        agents.decide_deregistration(_known(profile), DeregisterAgent(agent_id=profile.agent_id, external=True))


def test_an_external_agent_is_deregistered_by_its_owner_and_by_the_operator_of_the_machine() -> None:
    known = _known(_external("mine", "alice"))
    for owner in ("alice", ""):
        request = DeregisterAgent(agent_id="mine", external=True, owner=owner)
        assert agents.decide_deregistration(known, request) == AgentDeregistered()
    with pytest.raises(ConflictError, match="token 'alice'"):
        agents.decide_deregistration(known, DeregisterAgent(agent_id="mine", external=True, owner="bob"))


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
