"""The orchestrator dies at every append: the message that comes again brings out exactly what is missing."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from syntor.contracts.envelope import Lineage
from syntor.contracts.errors import NotReachableError, RevisionConflictError
from syntor.contracts.events import Event
from syntor.contracts.ids import new_id
from syntor.contracts.request.v1 import CancelRequested
from syntor.contracts.run.v1 import UserInput
from syntor.contracts.session.v1 import TurnTaken
from syntor.contracts.task.v1 import AgentInvokeDone
from syntor.eventsourcing.store import NewEvent, Recorded
from syntor.jetstream.consumer import Delivery
from syntor.orchestrator.handlers import Decisions
from syntor.replay.decisions import DecisionChecker
from syntor.testing.failing import FailingStore

AT = datetime(2026, 11, 21, tzinfo=UTC)


class Timers:
    """Remembers which timers are set; the server's are tested on a server."""

    def __init__(self) -> None:
        self.pending: set[tuple[str, str]] = set()

    async def set(self, run_id: str, name: str, *_: Any, **__: Any) -> None:
        self.pending.add((run_id, name))

    async def cancel(self, run_id: str, name: str) -> None:
        self.pending.discard((run_id, name))

    async def cancel_all(self, run_id: str) -> None:
        self.pending = {(other, name) for other, name in self.pending if other != run_id}


class World:
    """A log, an orchestrator that may be replaced, and an agent that responds immediately."""

    def __init__(self) -> None:
        self.store = FailingStore()
        self.timers = Timers()
        self.decisions = self.fresh()
        self.handled = 0

    def fresh(self) -> Decisions:
        return Decisions(self.store, self.timers)  # type: ignore[arg-type]

    async def add(self, event: Event, run_id: str, *, aggregate_id: str = "", version: int = 0) -> None:
        new = NewEvent(
            aggregate_id=aggregate_id or run_id,
            event=event,
            message_id=new_id(),
            source="test",
            time=AT,
            version=version,
            lineage=Lineage(run_id=run_id, session_id="s1"),
        )
        try:
            await self.store.append(new, None)
        except NotReachableError:
            await self.store.append(new, None)  # stored once, whatever became of the first try

    async def ask(self, run_id: str) -> None:
        await self.add(UserInput(agent="git", queue="git", content="x"), run_id, version=1)

    async def work(self) -> None:
        """Handle every trigger in the log, over and over like redeliveries, until nothing is added."""
        before = -1
        while before != len(self.store.messages):
            before = len(self.store.messages)
            for position in range(1, len(self.store.messages) + 1):
                recorded = await self.store.get(position)
                assert recorded is not None
                await self._react(recorded)

    async def _react(self, recorded: Recorded) -> None:
        type_, run_id = recorded.envelope.type, recorded.envelope.runid
        if type_ == "task_assigned" and await self.store.last(f"syntor.events.task.{run_id}.>") is None:
            await self.add(AgentInvokeDone(final_message="hi"), run_id, aggregate_id=f"{run_id}.t1", version=1)
        if type_ not in ("user_input", "cancel_requested", "agent_invoke_done", "turn_taken"):
            return
        for attempt in range(1, 6):
            try:
                await self.decisions.handle(Delivery(recorded, 1 if attempt == 1 else 2, False, 0))
                return
            except NotReachableError:
                self.decisions = self.fresh()
            except RevisionConflictError:
                continue

    async def all(self) -> list[Recorded]:
        return [recorded async for recorded in self.store.load("syntor.events.>")]


def _types(events: list[Recorded], run_id: str) -> Counter[str]:
    return Counter(event.envelope.type for event in events if event.envelope.runid == run_id)


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("dies_at", range(1, 16))
async def test_two_runs_of_a_session_end_once_in_turn_whenever_it_dies(dies_at: int, stored: bool) -> None:
    world = World()
    await world.ask("r1")
    await world.ask("r2")
    world.store.fail_at(dies_at, stored=stored)
    await world.work()
    events = await world.all()
    for run_id in ("r1", "r2"):
        types = _types(events, run_id)
        assert types["run_started"] == types["task_assigned"] == types["run_done"] == 1
        assert types["turn_taken"] == types["turn_released"] == 1
    position = {(event.envelope.runid, event.envelope.type): event.position for event in events}
    assert position["r1", "run_done"] < position["r2", "run_started"]
    for aggregate in ("run.r1", "run.r2", "session.s1"):
        versions = [event.envelope.version for event in events if event.envelope.subject == aggregate]
        assert versions == list(range(1, len(versions) + 1))
    checker = DecisionChecker()
    assert [mismatch for event in events if (mismatch := checker.feed(event)) is not None] == []
    assert world.timers.pending == set()


async def test_a_run_cancelled_while_it_waits_frees_its_place() -> None:
    world = World()
    await world.ask("r1")
    await world.ask("r2")
    await world.add(CancelRequested(reason="enough"), "r2")
    await world.work()
    events = await world.all()
    assert _types(events, "r2")["run_cancelled"] == 1
    assert _types(events, "r2")["run_started"] == 0
    assert _types(events, "r1")["run_done"] == 1


async def test_a_second_orchestrator_that_knows_less_changes_nothing() -> None:
    world = World()
    other = world.fresh()
    await world.ask("r1")
    first = await world.store.get(1)
    assert first is not None
    await other.handle(Delivery(first, 1, False, 0))
    await world.work()
    before = len(world.store.messages)
    world.decisions = other
    await world.work()
    assert len(world.store.messages) == before
    assert isinstance((await world.all())[1].event, TurnTaken)


async def test_an_orchestrator_that_missed_another_ones_turns_still_passes_the_turn_on() -> None:
    world = World()
    other = world.fresh()
    for number in range(4):
        await world.ask(f"r{number}")
    before = -1
    while before != len(world.store.messages):
        before = len(world.store.messages)
        for position in range(1, len(world.store.messages) + 1):
            recorded = await world.store.get(position)
            assert recorded is not None
            world.decisions, other = other, world.decisions
            await world._react(recorded)
    events = await world.all()
    assert [_types(events, f"r{number}")["run_done"] for number in range(4)] == [1, 1, 1, 1]
    checker = DecisionChecker()
    assert [mismatch for event in events if (mismatch := checker.feed(event)) is not None] == []
