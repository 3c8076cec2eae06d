"""What the registry records on a real log: who came, who went, and nothing twice."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from syntor.contracts import subjects
from syntor.contracts.agent.v1 import AgentProfile
from syntor.contracts.clock import now
from syntor.contracts.errors import InvalidInputError, NotFoundError
from syntor.contracts.rpc.v1 import DeregisterAgent, GetAgent, Heartbeat, ListAgents, RegisterAgent
from syntor.eventsourcing.store import NewEvent, Recorded
from syntor.jetstream.dead_letters import letters
from syntor.jetstream.tail import Tail
from syntor.registry.__main__ import follow
from syntor.registry.handlers import Registry

PROFILE = AgentProfile(agent_id="git", name="Git", aliases=["vcs"])


def _beat(instance: str, **changes: Any) -> Heartbeat:
    return Heartbeat(agent_id="git", instance=instance, **changes)


def _registry(log: Any) -> Registry:
    return Registry(log.connection, log.store, now)


async def _statuses(log: Any) -> list[str]:
    events = [recorded.event async for recorded in log.store.load(subjects.aggregate("agent", "git"))]
    return [event.status for event in events if hasattr(event, "status")]


async def test_the_last_instance_takes_the_agent_off_line_and_strangers_do_not(log: Any) -> None:
    registry = _registry(log)
    await registry.register(RegisterAgent(profile=PROFILE))
    await registry.on_heartbeat(_beat("i1"))
    await registry.on_heartbeat(_beat("i2", health="degraded"))
    await registry.on_expired("git", "i0")  # of a life before this registry's
    await registry.on_expired("git", "i1")
    assert await _statuses(log) == ["idle", "idle"]
    assert (await registry.get(GetAgent(agent_id="vcs"))).health == "degraded"
    await registry.on_expired("git", "i2")
    await registry.on_expired("git", "i2")
    await registry.check_absent()
    assert await _statuses(log) == ["idle", "idle", "offline"]
    await registry.on_heartbeat(_beat("i3"))
    assert (await registry.get(GetAgent(agent_id="git"))).status == "idle"


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://169.254.169.254/latest",
        "http://[::ffff:169.254.169.254]/",
        "http://[fd00:ec2::254]:80/",
        "http://localhost:8420/",
        "https://0x7f.1:8420/",
    ],
)
async def test_an_endpoint_that_may_not_be_called_is_refused(log: Any, endpoint: str) -> None:
    registry = Registry(log.connection, log.store, now, closed_ports=lambda: frozenset({8420}))
    profile = AgentProfile(agent_id="far", name="Far", endpoint=endpoint)
    with pytest.raises(InvalidInputError) as refused:
        await registry.register(RegisterAgent(profile=profile))
    assert refused.value.field == "endpoint"
    with pytest.raises(NotFoundError):
        await registry.get(GetAgent(agent_id="far"))
    allowed = AgentProfile(agent_id="near", name="Near", endpoint="http://127.0.0.1:9/")
    assert (await registry.register(RegisterAgent(profile=allowed))).profile.endpoint


async def test_an_agent_nobody_heard_of_is_found_absent_by_whoever_looks(log: Any) -> None:
    first, second = _registry(log), _registry(log)
    await first.register(RegisterAgent(profile=PROFILE))
    await first.on_heartbeat(_beat("i1"))
    async for recorded in log.store.load(subjects.aggregate("agent", "git")):
        second.apply(recorded)
    await second.check_absent()
    await second.check_absent()
    assert await _statuses(log) == ["idle", "offline"]


async def test_draining_is_recorded_and_ends_with_the_next_instance(log: Any) -> None:
    registry = _registry(log)
    await registry.register(RegisterAgent(profile=PROFILE))
    await registry.on_heartbeat(_beat("i1"))
    await registry.on_heartbeat(_beat("i1", status="draining"))
    assert (await registry.get(GetAgent(agent_id="git"))).status == "draining"
    await registry.on_heartbeat(_beat("i2"))
    assert await _statuses(log) == ["idle", "draining", "idle"]


async def test_two_registries_agree_through_the_log(log: Any) -> None:
    registries = [_registry(log) for _ in range(4)]
    await asyncio.gather(*(registry.register(RegisterAgent(profile=PROFILE)) for registry in registries))
    await asyncio.gather(*(registry.on_heartbeat(_beat("i1")) for registry in registries))
    events = [recorded async for recorded in log.store.load(subjects.aggregate("agent", "git"))]
    assert [recorded.envelope.type for recorded in events] == ["agent_registered", "agent_status_changed"]


class _Overtaking:
    """The log, where the registry's own reading of an event overtakes the answer to its append."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.registry: Registry | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def append(self, new: NewEvent, expected_revision: int | None) -> int:
        position: int = await self._store.append(new, expected_revision)
        assert self.registry is not None
        self.registry.apply(await self._store.get(position))
        return position


async def test_versions_stay_dense_when_the_log_is_read_before_an_append_is_answered(log: Any) -> None:
    store: Any = _Overtaking(log.store)
    registry = store.registry = Registry(log.connection, store, now)
    await registry.register(RegisterAgent(profile=PROFILE))
    await registry.on_heartbeat(_beat("i1"))
    await registry.on_heartbeat(_beat("i1", status="draining"))
    events = [recorded async for recorded in log.store.load(subjects.aggregate("agent", "git"))]
    assert [recorded.envelope.version for recorded in events] == [1, 2, 3]
    assert (await registry.get(GetAgent(agent_id="git"))).status == "draining"


async def test_deregistering_answers_with_its_own_position_and_the_agent_is_gone(log: Any) -> None:
    registry = _registry(log)
    known = await registry.register(RegisterAgent(profile=PROFILE))
    gone = await registry.deregister(DeregisterAgent(agent_id="vcs", reason="no use"))
    assert gone.position > known.position
    assert (await registry.list(ListAgents())).agents == []
    with pytest.raises(NotFoundError, match="no agent 'git'"):
        await registry.deregister(DeregisterAgent(agent_id="git"))
    again = await registry.register(RegisterAgent(profile=PROFILE))
    assert again.position > gone.position


async def test_what_cannot_be_accepted_is_refused_and_leaves_nothing(log: Any) -> None:
    registry = _registry(log)
    with pytest.raises(InvalidInputError) as caught:
        await registry.register(RegisterAgent(profile=AgentProfile(agent_id="a.b", name="A")))
    assert caught.value.field == "agent_id"
    assert await log.store.last(subjects.category("agent")) is None


class _Raising(Registry):
    """A registry with a defect that one event finds."""

    def apply(self, recorded: Recorded) -> None:
        """Raise for one agent."""
        if recorded.subject.startswith(subjects.aggregate("agent", "poison").removesuffix(">")):
            raise KeyError("a defect")
        super().apply(recorded)


async def test_an_event_that_makes_the_registry_raise_is_dead_lettered_and_the_next_is_folded(log: Any) -> None:
    writer = _registry(log)
    for agent_id in ("poison", "git"):
        await writer.register(RegisterAgent(profile=AgentProfile(agent_id=agent_id, name=agent_id)))
    await log.connection.request("syntor.events.agent.other.agent_registered", b"nonsense")
    registry, known = _Raising(log.connection, log.store, now), asyncio.Event()
    tail = Tail(log.connection, [subjects.category("agent")], after=0)
    following = asyncio.create_task(follow(registry, log.store, tail, log.connection, known))
    await asyncio.wait_for(known.wait(), 20)

    assert [view.profile.agent_id for view in (await registry.list(ListAgents())).agents] == ["git"]
    found, _ = await letters(log.connection)
    assert found[-1].cause == "KeyError: 'a defect'"
    assert len(found) == 2
    assert not following.done()
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    await tail.close()
