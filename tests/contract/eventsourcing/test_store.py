"""What every event store promises, on each adapter: in memory, on JetStream, with group commit, and simulated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest

from syntor.contracts import subjects
from syntor.contracts.envelope import Lineage
from syntor.contracts.errors import RevisionConflictError
from syntor.contracts.run.v1 import RunDone, RunStarted, UserInput
from syntor.eventsourcing.store import EventStore, RawEvent, Recorded
from syntor.eventsourcing.verification import LogVerifier
from syntor.jetstream.admin import apply_topology
from syntor.jetstream.connection import connect
from syntor.jetstream.store import JetStreamStore
from syntor.testing.events import new_event, stream_delta, user_input
from syntor.testing.memory import MemoryStore
from syntor.testing.nats_server import NatsServer
from syntor.testing.simulation.client import connect_simulated
from syntor.testing.simulation.network import DirectNetwork
from syntor.testing.simulation.server import SimulatedServer

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(params=["memory", "jetstream", "jetstream-grouped", "simulated", "simulated-grouped"])
def adapter(request: pytest.FixtureRequest) -> str:
    """The adapter under test; another layer of tests names some of them."""
    name: str = request.param
    return name


@pytest.fixture
def nats_url(tmp_path: Path) -> Iterator[str]:
    """A fresh server; another layer of tests has one of its own."""
    with NatsServer(tmp_path / "nats") as server:
        yield server.url


@pytest.fixture
async def store(request: pytest.FixtureRequest, adapter: str) -> AsyncIterator[EventStore]:
    """An empty store."""
    if adapter == "memory":
        yield MemoryStore()
        return
    if adapter.startswith("simulated"):
        connection, _ = await connect_simulated(SimulatedServer(DirectNetwork()), "syntor/test")
    else:
        connection = await connect(request.getfixturevalue("nats_url"), "syntor/test")
    await apply_topology(connection)
    opened = JetStreamStore(connection, group_commit=adapter.endswith("-grouped"))
    yield opened
    await opened.close()
    await connection.close()


async def everything(store: EventStore, filter_subject: str, **limits: object) -> list[Recorded]:
    return [recorded async for recorded in store.load(filter_subject, **limits)]  # type: ignore[arg-type]


async def test_an_appended_event_is_read_back_whole(store: EventStore) -> None:
    new = msgspec.structs.replace(
        user_input("r1", "hi"),
        lineage=Lineage(
            run_id="r1",
            session_id="s1",
            causation_id="c1",
            correlation_id="0af7651916cd43dd8448eb211c80319c",
            traceparent=TRACE,
        ),
    )

    position = await store.append(new, 0)

    [recorded] = await everything(store, subjects.run_everything("r1"))
    assert (recorded.position, recorded.subject) == (position, "syntor.events.run.r1.user_input")
    assert recorded.event == UserInput(agent="worker", queue="worker", content="hi")
    assert recorded.envelope == new.envelope()
    assert recorded.traceparent == TRACE


async def test_positions_grow(store: EventStore) -> None:
    first = await store.append(user_input("r1"), 0)
    second = await store.append(user_input("r2"), 0)

    assert 0 < first < second


async def test_the_revision_of_an_aggregate_is_the_position_of_its_last_event(store: EventStore) -> None:
    first = await store.append(user_input("r1"), 0)
    await store.append(user_input("r2"), 0)
    second = await store.append(new_event("r1", RunStarted(agent="worker"), version=2), first)

    assert await store.append(new_event("r1", RunDone(final_message="done"), version=3), second) > second


@pytest.mark.parametrize("expected", [0, 7])
async def test_another_revision_than_expected_is_a_conflict_and_nothing_is_stored(
    store: EventStore, expected: int
) -> None:
    position = await store.append(user_input("r1"), 0)

    with pytest.raises(RevisionConflictError) as caught:
        await store.append(new_event("r1", RunStarted(agent="worker"), version=2), expected)

    assert (caught.value.expected, caught.value.found) == (expected, position)
    assert [recorded.position for recorded in await everything(store, subjects.ALL_EVENTS)] == [position]


async def test_an_event_expected_on_top_of_another_that_is_not_there_is_a_conflict(store: EventStore) -> None:
    with pytest.raises(RevisionConflictError):
        await store.append(user_input("r1"), 3)


async def test_of_many_writers_of_one_revision_one_wins(store: EventStore) -> None:
    outcomes = await asyncio.gather(*(store.append(user_input("r1"), 0) for _ in range(40)), return_exceptions=True)

    won = [outcome for outcome in outcomes if isinstance(outcome, int)]
    lost = [outcome for outcome in outcomes if isinstance(outcome, RevisionConflictError)]
    assert (len(won), len(lost)) == (1, 39)
    assert [recorded.position for recorded in await everything(store, subjects.ALL_EVENTS)] == won


async def test_many_writers_of_different_aggregates_all_get_their_own_position(store: EventStore) -> None:
    events = [user_input(f"r{number}") for number in range(300)]

    positions = await asyncio.gather(*(store.append(event, 0) for event in events))

    stored = {recorded.envelope.id: recorded.position for recorded in await everything(store, subjects.ALL_EVENTS)}
    assert stored == {event.message_id: position for event, position in zip(events, positions, strict=True)}


async def test_the_same_message_again_is_stored_once(store: EventStore) -> None:
    new = user_input("r1", message_id="m1")
    position = await store.append(new, 0)

    assert await store.append(new, 0) == position
    assert len(await everything(store, subjects.ALL_EVENTS)) == 1


async def test_the_same_message_again_is_found_below_what_followed_it(store: EventStore) -> None:
    new = user_input("r1", message_id="m1")
    first = await store.append(new, 0)
    second = await store.append(new_event("r1", RunStarted(agent="worker"), version=2), first)
    third = await store.append(user_input("r1", "of the same type", version=3), second)

    assert await store.append(new, 0) == first
    assert [recorded.position for recorded in await everything(store, subjects.ALL_EVENTS)] == [first, second, third]


async def test_without_a_check_the_same_message_again_is_stored_once(store: EventStore) -> None:
    new = stream_delta("r1", message_id="m1")
    position = await store.append(new, None)

    assert await store.append(new, None) == position


async def test_events_without_a_check_do_not_move_the_revision_of_the_run(store: EventStore) -> None:
    position = await store.append(user_input("r1"), 0)
    await store.append(stream_delta("r1"), None)

    assert await store.append(new_event("r1", RunStarted(agent="worker"), version=2), position) == position + 2


async def test_loading_obeys_filter_and_limits(store: EventStore) -> None:
    for number in range(1, 5):
        await store.append(user_input(f"r{number}"), 0)
        await store.append(stream_delta("r1", index=number), None)

    async def positions(filter_subject: str, **limits: object) -> list[int]:
        return [recorded.position for recorded in await everything(store, filter_subject, **limits)]

    assert await positions(subjects.run_everything("r1")) == [1, 2, 4, 6, 8]
    assert await positions(subjects.category("run"), after=3) == [5, 7]
    assert await positions(subjects.category("run"), after=1, up_to=5) == [3, 5]
    assert await positions(subjects.ALL_EVENTS, after=8) == []
    assert await positions(subjects.ALL_EVENTS, after=5, up_to=5) == []
    assert await positions(subjects.category("agent")) == []
    assert await positions(subjects.ALL_EVENTS, wanted=lambda subject: subject.endswith("user_input")) == [1, 3, 5, 7]


async def test_a_long_history_is_loaded_in_order(store: EventStore) -> None:
    await asyncio.gather(*(store.append(stream_delta("r1", index=number), None) for number in range(1300)))

    loaded = await everything(store, subjects.run_everything("r1"))

    assert [recorded.position for recorded in loaded] == list(range(1, 1301))


async def test_the_last_event_of_a_filter_is_found(store: EventStore) -> None:
    position = await store.append(user_input("r1"), 0)
    await store.append(user_input("r2"), 0)

    last = await store.last(subjects.aggregate("run", "r1"))

    assert last is not None
    assert last.position == position
    assert await store.last(subjects.aggregate("run", "r3")) is None


async def test_the_last_event_of_each_subject_is_found_oldest_first(store: EventStore) -> None:
    await store.append(user_input("r1"), 0)  # 1
    await store.append(user_input("r2"), 0)  # 2
    await store.append(stream_delta("r1", index=0), None)  # 3
    await store.append(stream_delta("r1", index=1), None)  # 4

    async def positions(filters: list[str], up_to: int | None = None) -> list[int]:
        return [recorded.position for recorded in await store.last_of_each(filters, up_to)]

    assert await positions([subjects.ALL_EVENTS]) == [1, 2, 4]
    assert await positions([subjects.category("output"), subjects.aggregate("run", "r2")]) == [2, 4]
    assert await positions([subjects.ALL_EVENTS], up_to=3) == [1, 2, 3]
    assert await positions([subjects.category("agent")]) == []


async def test_the_last_of_many_large_events_are_all_found(store: EventStore) -> None:
    for number in range(20):
        await store.append(user_input(f"r{number}", "x" * 250_000), 0)

    found = await store.last_of_each([subjects.category("run")])

    assert [recorded.position for recorded in found] == list(range(1, 21))
    assert len(await everything(store, subjects.category("run"))) == 20


async def test_an_event_is_found_by_position(store: EventStore) -> None:
    position = await store.append(user_input("r1"), 0)

    found = await store.get(position)

    assert found is not None
    assert found.subject == "syntor.events.run.r1.user_input"
    assert await store.get(position + 1) is None


async def test_data_above_the_inline_limit_comes_back_whole(store: EventStore) -> None:
    content = "ä" * 700_000
    position = await store.append(user_input("r1", content), 0)

    loaded = [await store.get(position), await store.last(subjects.ALL_EVENTS)]
    loaded += await everything(store, subjects.ALL_EVENTS)

    for recorded in loaded:
        assert recorded is not None
        assert recorded.event == UserInput(agent="worker", queue="worker", content=content)
        assert recorded.envelope.dataref == ""


async def test_each_event_of_an_aggregate_carries_the_hash_of_the_one_before(store: EventStore) -> None:
    first = await store.append(user_input("r1"), 0)
    other = await store.append(user_input("r2"), 0)
    second = await store.append(new_event("r1", RunStarted(agent="worker"), version=2), first)
    await store.append(stream_delta("r1"), None)
    await store.append(new_event("r1", RunDone(final_message="x", task_id="t1"), version=3), second)
    carried = [(each.position, each.envelope.previoushash) for each in await everything(store, subjects.ALL_EVENTS)]
    assert [bool(previous) for _, previous in carried] == [False, False, True, False, True]
    verifier = LogVerifier()
    for raw in await raw_events(store):
        verifier.feed(raw)
    assert verifier.finish(5) == []
    assert other == 2


async def test_a_writer_that_has_read_nothing_carries_the_hash_too(store: EventStore) -> None:
    first = await store.append(user_input("r1"), 0)
    fresh = store
    if isinstance(store, JetStreamStore):
        fresh = JetStreamStore(store.connection, group_commit=False)
    await fresh.append(new_event("r1", RunStarted(agent="worker"), version=2), first)
    verifier = LogVerifier()
    for raw in await raw_events(store):
        verifier.feed(raw)
    assert verifier.finish(2) == []


async def raw_events(store: EventStore) -> list[RawEvent]:
    """Return what the log holds, undecoded."""
    if isinstance(store, JetStreamStore):
        return [raw async for raw in store.load_raw(subjects.ALL_EVENTS)]
    assert isinstance(store, MemoryStore)
    return [RawEvent(number, subject, payload) for number, (subject, payload, _) in enumerate(store.messages, 1)]
