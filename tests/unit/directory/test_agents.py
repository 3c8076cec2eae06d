"""Agents are found by id and alias; order and repetition of what is fed do not matter."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syntor.contracts.agent.v1 import (
    AgentDeregistered,
    AgentEvent,
    AgentProfile,
    AgentRegistered,
    AgentStatusChanged,
)
from syntor.contracts.errors import NotFoundError
from syntor.contracts.ids import new_id
from syntor.directory.agents import AgentDirectory, queue_of
from syntor.eventsourcing.store import NewEvent, Recorded
from syntor.testing.memory import MemoryStore


def registered(agent_id: str, *aliases: str, endpoint: str = "", queue: str = "") -> AgentRegistered:
    profile = AgentProfile(agent_id=agent_id, name=agent_id, aliases=list(aliases), endpoint=endpoint, queue=queue)
    return AgentRegistered(profile=profile)


async def store_of(*events: tuple[str, AgentEvent]) -> MemoryStore:
    store = MemoryStore()
    for agent_id, event in events:
        await store.append(
            NewEvent(
                aggregate_id=agent_id,
                event=event,
                message_id=new_id(),
                source="registry",
                time=datetime(2026, 1, 1, tzinfo=UTC),
                version=1,
            ),
            None,
        )
    return store


async def recordings(store: MemoryStore) -> list[Recorded]:
    return [recorded async for recorded in store.load("syntor.events.agent.>")]


async def test_an_agent_is_found_by_id_and_by_alias() -> None:
    directory = AgentDirectory()
    await directory.load(await store_of(("documentation", registered("documentation", "docs"))))
    assert directory.resolve("docs") == directory.resolve("documentation")


async def test_an_unknown_agent_is_refused_and_the_known_ones_are_listed() -> None:
    directory = AgentDirectory()
    with pytest.raises(NotFoundError, match="none is registered yet"):
        directory.resolve("docs")
    await directory.load(await store_of(("git", registered("git")), ("worker_code", registered("worker_code", "code"))))
    with pytest.raises(NotFoundError, match=r"no agent 'docs'; known: git, worker_code \(code\)"):
        directory.resolve("docs")


async def test_a_deregistered_agent_is_gone_until_it_registers_again() -> None:
    events: list[tuple[str, AgentEvent]] = [("git", registered("git")), ("git", AgentDeregistered())]
    directory = AgentDirectory()
    await directory.load(await store_of(*events))
    assert directory.find("git") is None
    again = AgentDirectory()
    await again.load(await store_of(*events, ("git", registered("git"))))
    assert again.find("git") is not None


async def test_a_status_change_does_not_hide_the_registration() -> None:
    directory = AgentDirectory()
    await directory.load(await store_of(("git", registered("git")), ("git", AgentStatusChanged(status="offline"))))
    assert directory.find("git") is not None


def test_an_id_wins_over_an_alias_and_an_older_alias_over_a_newer_one() -> None:
    directory = AgentDirectory()
    directory.register(registered("a", "code", "b").profile, 1)
    directory.register(registered("b", "code").profile, 2)
    assert directory.resolve("b").agent_id == "b"
    assert directory.resolve("code").agent_id == "a"


@pytest.mark.parametrize(
    ("endpoint", "queue", "expected"),
    [("", "", "git"), ("http://127.0.0.1:9/", "", "external"), ("", "shared", "shared")],
)
def test_the_queue_is_the_agents_own_or_that_of_the_external_gateway(endpoint: str, queue: str, expected: str) -> None:
    assert queue_of(registered("git", endpoint=endpoint, queue=queue).profile) == expected


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["register", "alias", "deregister", "status"]),
    ),
    max_size=12,
)


@given(EVENTS, st.data())
async def test_feeding_again_or_older_events_changes_nothing(steps: list[tuple[str, str]], data: st.DataObject) -> None:
    kinds: dict[str, AgentEvent] = {
        "register": registered("x"),
        "deregister": AgentDeregistered(),
        "status": AgentStatusChanged(status="idle"),
    }
    events = [
        (a, registered(a, "nick") if k == "alias" else registered(a) if k == "register" else kinds[k]) for a, k in steps
    ]
    store = await store_of(*events)
    recorded = await recordings(store)
    once, twice = AgentDirectory(), AgentDirectory()
    for one in recorded:
        once.apply(one)
    await twice.load(store)
    for one in data.draw(st.permutations(recorded)):
        twice.apply(one)
    assert once.agents() == twice.agents()


async def test_an_event_that_cannot_be_read_hides_no_other_agent() -> None:
    store = await store_of(("git", registered("git")), ("worker", registered("worker")))
    store.messages.append(("syntor.events.agent.broken.agent_registered", b"nonsense", ""))
    directory = AgentDirectory()
    await directory.load(store)
    assert [profile.agent_id for profile in directory.agents()] == ["git", "worker"]
