"""The aggregate shell: what it appends, what it reads, and what it does when another process was first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syntor.contracts.budget.v1 import BudgetReserved, BudgetSettled
from syntor.contracts.envelope import Lineage
from syntor.contracts.errors import ConflictError, MalformedMessageError, RevisionConflictError
from syntor.contracts.events import Event
from syntor.eventsourcing import aggregate as shell
from syntor.eventsourcing.aggregate import Aggregates, append_next
from syntor.eventsourcing.decider import Decider
from syntor.eventsourcing.store import NewEvent
from syntor.testing.memory import MemoryStore

AT = datetime(2026, 11, 27, tzinfo=UTC)
LINEAGE = Lineage(run_id="r1", correlation_id="c1", first_position=1)
LEVELS: Decider[int] = Decider(
    category="budget",
    initial=0,
    evolve=lambda level, event, at: level + event.tokens if isinstance(event, BudgetReserved) else level,
)


class CountingStore(MemoryStore):
    """Counts what is read."""

    def __init__(self) -> None:
        super().__init__()
        self.loads = 0
        self.appends = 0

    async def append(self, new: NewEvent, expected_revision: int | None) -> int:
        self.appends += 1
        await asyncio.sleep(0)  # other tasks run in between, as with a server
        return await super().append(new, expected_revision)

    async def load(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        self.loads += 1
        async for recorded in super().load(*args, **kwargs):
            yield recorded


def one(tokens: int = 1) -> BudgetReserved:
    return BudgetReserved(call_ref="c", tokens=tokens)


def up_to(limit: int) -> Any:
    """Decide for one event after the other until the level is reached."""
    return lambda level: one() if level < limit else None


def levels(store: MemoryStore, **options: Any) -> Aggregates[int]:
    return Aggregates(store, LEVELS, "test", **options)


async def test_it_appends_until_nothing_is_called_for_with_dense_versions_and_the_lineage() -> None:
    store = CountingStore()
    appended = await levels(store).transact("a", up_to(3), LINEAGE, AT)
    assert appended == [one(), one(), one()]
    envelopes = [recorded.envelope async for recorded in store.load("syntor.events.budget.a.>")]
    assert [envelope.version for envelope in envelopes] == [1, 2, 3]
    assert {(e.runid, e.correlationid, e.firstposition, e.source) for e in envelopes} == {
        ("r1", "c1", 1, "syntor/test")
    }


async def test_deciding_on_the_known_state_needs_no_read_and_nothing_is_confirmed_by_one() -> None:
    store = CountingStore()
    known = levels(store)
    await known.transact("a", up_to(1), LINEAGE, AT)
    assert store.loads == 0
    await known.transact("a", up_to(1), LINEAGE, AT)
    assert store.loads == 1
    await known.transact("a", up_to(1), LINEAGE, AT, confirm=False)
    assert store.loads == 1


async def test_a_command_is_decided_once() -> None:
    assert await levels(MemoryStore()).transact("a", lambda _: one(), LINEAGE, AT, limit=1) == [one()]


async def test_a_process_that_is_behind_decides_again_on_the_newest_state() -> None:
    store = CountingStore()
    first, second = levels(store), levels(store)
    await first.transact("a", up_to(1), LINEAGE, AT)
    await second.transact("a", up_to(2), LINEAGE, AT)
    await first.transact("a", up_to(3), LINEAGE, AT)
    assert [recorded.envelope.version async for recorded in store.load("syntor.events.budget.a.>")] == [1, 2, 3]


async def test_a_rejection_on_an_old_state_is_decided_again_on_the_newest() -> None:
    store = MemoryStore()
    behind = levels(store)
    await behind.transact("a", lambda _: None, LINEAGE, AT)
    await levels(store).transact("a", up_to(5), LINEAGE, AT)

    def lower(level: int) -> Event | None:
        if level < 5:
            raise ConflictError("too low")
        return BudgetSettled(call_ref="c") if level == 5 else None

    assert await behind.transact("a", lower, LINEAGE, AT, limit=1) == [BudgetSettled(call_ref="c")]
    with pytest.raises(ConflictError):
        await behind.transact("b", lower, LINEAGE, AT)


async def test_a_writer_that_is_never_first_is_told_after_a_bounded_number_of_attempts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Busy(CountingStore):
        async def append(self, new: NewEvent, expected_revision: int | None) -> int:
            self.appends += 1
            raise RevisionConflictError("budget.a", expected_revision or 0, None)

    monkeypatch.setattr(shell, "_BACKOFF_S", 0.0)
    store = Busy()
    with pytest.raises(RevisionConflictError):
        await levels(store).transact("a", up_to(1), LINEAGE, AT)
    assert store.appends == shell.MAX_ATTEMPTS


async def test_transactions_on_one_aggregate_follow_each_other_and_others_run_in_parallel() -> None:
    store = CountingStore()
    known = levels(store)
    await asyncio.gather(*(known.transact(name, up_to(20), LINEAGE, AT) for name in ("a", "a", "a", "b")))
    assert store.appends == 40  # no append of "a" was lost against another task of this process


async def test_an_event_delivered_before_its_acknowledgement_is_folded_once() -> None:
    known: Aggregates[int]

    class Echoing(MemoryStore):
        async def append(self, new: NewEvent, expected_revision: int | None) -> int:
            position = await super().append(new, expected_revision)
            recorded = await self.get(position)
            assert recorded is not None
            known.get("a").fold(recorded)
            return position

    known = levels(Echoing())
    await known.transact("a", up_to(3), LINEAGE, AT)
    assert (known.get("a").state, known.get("a").version) == (3, 3)


async def test_the_least_recently_used_is_dropped_and_read_again_unless_it_is_in_use() -> None:
    store = CountingStore()
    known = levels(store, cached=2)
    async with known.hold("held") as held:
        for name in ("a", "b", "c"):
            await known.transact(name, up_to(1), LINEAGE, AT)
        assert known.find("held") is held
        assert known.find("a") is None
    await known.transact("a", up_to(2), LINEAGE, AT)
    assert [recorded.envelope.version async for recorded in store.load("syntor.events.budget.a.>")] == [1, 2]


async def test_an_event_out_of_bounds_never_enters_the_log() -> None:
    store = MemoryStore()
    with pytest.raises(MalformedMessageError, match="tokens"):
        await levels(store).transact("a", lambda _: one(-1), LINEAGE, AT, limit=1)
    assert store.messages == []


async def test_an_event_can_be_appended_after_the_last_one_whatever_that_is() -> None:
    store = MemoryStore()
    await levels(store).transact("a", up_to(2), LINEAGE, AT)
    position = await append_next(store, BudgetSettled(call_ref="c"), "a", LINEAGE, "test", AT)
    recorded = await store.get(position)
    assert recorded is not None
    assert recorded.envelope.version == 3


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=12), st.integers(1, 30))
async def test_processes_that_share_an_aggregate_agree_whatever_each_knows(order: list[int], limit: int) -> None:
    store = CountingStore()
    processes = [levels(store) for _ in range(3)]
    await asyncio.gather(*(processes[number].transact("a", up_to(limit), LINEAGE, AT) for number in order))
    versions = [recorded.envelope.version async for recorded in store.load("syntor.events.budget.a.>")]
    assert versions == list(range(1, limit + 1))
