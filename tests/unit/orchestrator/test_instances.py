"""Two orchestrators share the work, each knowing only what it happened to see: runs end once, turns never overlap."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syntor.contracts import subjects
from syntor.contracts.envelope import Lineage
from syntor.contracts.errors import RevisionConflictError
from syntor.contracts.events import Event
from syntor.contracts.ids import derived_id
from syntor.contracts.request.v1 import CancelRequested
from syntor.contracts.run.v1 import RunStarted, TaskAssigned, UserInput
from syntor.contracts.task.v1 import AgentInvokeDone, AgentInvokeFailed
from syntor.contracts.timer.v1 import TimerFired
from syntor.eventsourcing.store import NewEvent, Recorded
from syntor.jetstream.consumer import Delivery
from syntor.orchestrator.handlers import Decisions
from syntor.replay.decisions import DecisionChecker
from syntor.testing.memory import MemoryStore

AT = datetime(2026, 11, 21, tzinfo=UTC)
TRIGGERS = {"user_input", "cancel_requested", "agent_invoke_done", "agent_invoke_failed", "turn_taken"}
ENDS = {"run_done", "run_failed", "run_cancelled"}
DONE = AgentInvokeDone(final_message="hi")
OUTCOMES = (
    DONE,
    AgentInvokeFailed(code="away", message="away", retryable=True),
    AgentInvokeFailed(code="x", message=""),
)


class YieldingStore(MemoryStore):
    """Lets other tasks run at every call, as a server does."""

    async def append(self, new: NewEvent, expected_revision: int | None) -> int:
        await asyncio.sleep(0)
        position = await super().append(new, expected_revision)
        await asyncio.sleep(0)
        return position

    async def load(self, *args: Any, **kwargs: Any) -> AsyncGenerator[Recorded, None]:
        await asyncio.sleep(0)
        async for recorded in super().load(*args, **kwargs):
            yield recorded

    async def last(self, filter_subject: str) -> Recorded | None:
        await asyncio.sleep(0)
        return await super().last(filter_subject)


class Timers:
    """Keeps the due messages of the timers that are set."""

    def __init__(self) -> None:
        self.pending: dict[str, Recorded] = {}

    async def set(self, run_id: str, name: str, at: datetime, due: TimerFired, lineage: Lineage) -> None:
        new = NewEvent(
            aggregate_id=f"{run_id}.{name}",
            event=due,
            message_id="due",
            source="t",
            time=at,
            version=0,
            lineage=lineage,
        )
        self.pending[run_id] = Recorded(1, subjects.timer_fired(run_id, name), new.envelope(), due)

    async def cancel(self, run_id: str, name: str) -> None:
        self.pending.pop(run_id, None)

    async def cancel_all(self, run_id: str) -> None:
        self.pending.pop(run_id, None)


class World:
    """A log, two orchestrators, and everything that can happen around them, one choice after the other."""

    def __init__(self) -> None:
        self.store = YieldingStore()
        self.timers = Timers()
        self.instances = [self.fresh(), self.fresh()]
        self.undelivered: list[tuple[Recorded, int]] = []
        self.open_tasks: list[tuple[str, int]] = []
        self.runs: list[str] = []
        self.seen = 0

    def fresh(self) -> Decisions:
        return Decisions(self.store, self.timers)  # type: ignore[arg-type]

    async def write(self, event: Event, run_id: str, aggregate_id: str, version: int = 0) -> None:
        new = NewEvent(
            aggregate_id=aggregate_id,
            event=event,
            message_id=derived_id(str(len(self.store.messages))),
            source="test",
            time=AT,
            version=version,
            lineage=Lineage(run_id=run_id, session_id=f"s{int(run_id[1:]) % 2}", correlation_id=f"c-{run_id}"),
        )
        await self.store.append(new, None)
        await self.notice()

    async def notice(self) -> None:
        """See what came into the log: triggers to deliver, tasks to work on."""
        async for recorded in self.store.load("syntor.events.>", self.seen):
            self.seen = recorded.position
            if recorded.envelope.type in TRIGGERS:
                self.undelivered.append((recorded, 1))
            if isinstance(recorded.event, TaskAssigned):
                self.open_tasks.append((recorded.envelope.runid, recorded.event.attempt))

    async def choose(self, choice: int) -> None:
        """Let one of the things happen that can happen now."""
        choice, detail = divmod(choice, 8)
        match detail:
            case 0 if len(self.runs) < 6:
                await self.ask(f"r{len(self.runs)}")
            case 1 if self.runs:
                await self.cancel(self.runs[choice % len(self.runs)])
            case 2 if self.open_tasks:
                await self.finish(choice % len(self.open_tasks), OUTCOMES[choice % 3])
            case 3 if self.timers.pending:
                run_id = sorted(self.timers.pending)[choice % len(self.timers.pending)]
                await self.deliver([(self.timers.pending.pop(run_id), 1)], choice)
            case 4:
                self.instances[choice % 2] = self.fresh()
            case _:
                first = choice % 4
                batch = self.undelivered[first : first + 2]
                del self.undelivered[first : first + 2]
                await self.deliver(batch, choice)
                if choice % 3 == 0:  # the acknowledgements were lost
                    self.undelivered += [(recorded, attempt + 1) for recorded, attempt in batch]

    async def finish(self, number: int, event: Event) -> None:
        run_id, attempt = self.open_tasks.pop(number)
        await self.write(event, run_id, f"{run_id}.t1", attempt)

    async def deliver(self, batch: list[tuple[Recorded, int]], choice: int) -> None:
        """Hand messages to the instances at the same time."""
        await asyncio.gather(*(self.hand(recorded, n, (choice + i) % 2) for i, (recorded, n) in enumerate(batch)))
        await self.notice()

    async def hand(self, recorded: Recorded, attempt: int, instance: int) -> None:
        for _ in range(4):
            try:
                return await self.instances[instance].handle(Delivery(recorded, attempt, False, 0))
            except RevisionConflictError:
                continue
        self.undelivered.append((recorded, attempt + 1))

    async def settle(self) -> None:
        """Deliver everything; let the tasks of even runs be done and those of odd ones never answer."""
        while self.undelivered or self.open_tasks:
            if self.undelivered:
                await self.deliver([self.undelivered.pop(0)], len(self.store.messages))
                continue
            run_id = self.open_tasks[0][0]
            if int(run_id[1:]) % 2 and run_id in self.timers.pending:
                await self.deliver([(self.timers.pending.pop(run_id), 1)], len(self.store.messages))
                self.open_tasks.pop(0)
            else:
                await self.finish(0, DONE)

    async def play(self, choices: list[int]) -> list[Recorded]:
        """Play the choices, settle, and return the log."""
        for choice in choices:
            await self.choose(choice)
        await self.settle()
        return [recorded async for recorded in self.store.load("syntor.events.>")]

    async def ask(self, run_id: str) -> None:
        """Request a run."""
        self.runs.append(run_id)
        await self.write(UserInput(agent="git", queue="git", content="x"), run_id, run_id, 1)

    async def cancel(self, run_id: str) -> None:
        """Request a cancellation."""
        await self.write(CancelRequested(reason="enough"), run_id, run_id)

    async def hand_newest(self, type_: str, instance: int) -> None:
        """Hand the newest undelivered message of a type to an instance."""
        number = max(n for n, (recorded, _) in enumerate(self.undelivered) if recorded.envelope.type == type_)
        recorded, attempt = self.undelivered.pop(number)
        await self.hand(recorded, attempt, instance)
        await self.notice()


def holders(events: list[Recorded]) -> list[str]:
    """Return what is wrong with the turns of all sessions."""
    wrong: list[str] = []
    holder: dict[str, str] = {}
    for recorded in events:
        session, run_id = recorded.envelope.sessionid, recorded.envelope.runid
        match recorded.envelope.type:
            case "turn_taken":
                if holder.get(session):
                    wrong.append(f"{run_id} took the turn of {holder[session]}")
                holder[session] = run_id
            case "turn_released" if holder.get(session) == run_id:
                holder[session] = ""
            case "run_started" | "task_assigned" if holder.get(session) != run_id:
                wrong.append(f"{run_id} worked without the turn")
            case _:
                pass
    return wrong + [f"{run_id} kept the turn" for run_id in holder.values() if run_id]


def check(world: World, events: list[Recorded]) -> None:
    """Expect that every run ended once, in its turn, by decisions that would be made again."""
    ends = Counter(recorded.envelope.runid for recorded in events if recorded.envelope.type in ENDS)
    assert ends == Counter(world.runs)
    assert holders(events) == []
    assert world.timers.pending == {}
    for subject in {recorded.envelope.subject for recorded in events}:
        if subject.startswith(("run.", "session.")):
            versions = [recorded.envelope.version for recorded in events if recorded.envelope.subject == subject]
            assert versions == list(range(1, len(versions) + 1))
    checker = DecisionChecker()
    assert [mismatch for recorded in events if (mismatch := checker.feed(recorded)) is not None] == []
    for recorded in events:
        if recorded.envelope.source == "syntor/orchestrator":
            assert recorded.envelope.correlationid == f"c-{recorded.envelope.runid}"


@given(st.lists(st.integers(0, 9999), max_size=50))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_happens_every_run_ends_once_and_in_its_turn(choices: list[int]) -> None:
    world = World()
    check(world, asyncio.run(world.play(choices)))


@given(st.lists(st.integers(0, 9999), max_size=30))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_one_that_knows_nothing_finds_nothing_left_to_do(choices: list[int]) -> None:
    async def play() -> tuple[int, int]:
        world = World()
        events = await world.play(choices)
        world.instances = [world.fresh(), world.fresh()]
        for recorded in events:
            if recorded.envelope.type in TRIGGERS:
                await world.hand(recorded, 2, recorded.position % 2)
        return len(events), len(world.store.messages)

    before, after = asyncio.run(play())
    assert before == after


async def ended(world: World, run_id: str) -> str:
    """Return how a run ended, after everything else was settled and checked."""
    events = await world.play([])
    check(world, events)
    return next(e.envelope.type for e in events if e.envelope.runid == run_id and e.envelope.type in ENDS)


async def second_in_line(world: World) -> None:
    """Let r2 wait for r0 as far as instance 0 knows, while instance 1 ended r0 and started r2."""
    await world.ask("r0")
    await world.hand_newest("user_input", 0)
    await world.ask("r2")
    await world.hand_newest("user_input", 0)
    await world.finish(0, DONE)
    await world.hand_newest("agent_invoke_done", 1)
    await world.hand_newest("turn_taken", 1)


async def test_the_answer_of_a_run_that_waits_as_far_as_is_known_is_not_lost() -> None:
    world = World()
    await second_in_line(world)
    await world.finish(0, DONE)
    await world.hand_newest("agent_invoke_done", 0)
    assert await ended(world, "r2") == "run_done"


async def test_the_deadline_of_an_attempt_another_instance_assigned_is_kept() -> None:
    world = World()
    await world.ask("r0")
    await world.hand_newest("user_input", 0)
    await world.finish(0, OUTCOMES[1])
    await world.hand_newest("agent_invoke_failed", 1)
    assert world.open_tasks.pop() == ("r0", 2)
    await world.hand(world.timers.pending.pop("r0"), 1, 0)
    assert await ended(world, "r0") == "run_failed"


async def test_a_cancel_that_came_first_wins_whoever_answers_it() -> None:
    world = World()
    await world.ask("r0")
    await world.hand_newest("user_input", 0)
    await world.cancel("r0")
    await world.finish(0, DONE)
    await world.hand_newest("agent_invoke_done", 0)
    assert await ended(world, "r0") == "run_cancelled"


async def test_a_cancel_that_came_before_the_turn_wins_over_the_turn() -> None:
    world = World()
    await world.ask("r0")
    await world.hand_newest("user_input", 0)
    await world.ask("r2")
    await world.hand_newest("user_input", 1)
    await world.cancel("r2")
    await world.finish(0, DONE)
    await world.hand_newest("agent_invoke_done", 0)
    await world.hand_newest("turn_taken", 1)
    assert await ended(world, "r2") == "run_cancelled"


async def test_the_history_of_a_run_has_the_turns_other_instances_gave() -> None:
    world = World()
    await second_in_line(world)
    await world.ask("r4")
    await world.hand_newest("user_input", 1)
    await world.finish(0, DONE)
    await world.hand_newest("agent_invoke_done", 1)
    await world.hand_newest("turn_taken", 0)
    started = await world.store.last("syntor.events.run.r4.run_started")
    assert started is not None
    assert started.event == RunStarted(agent="git", history=["r0", "r2"])
    assert await ended(world, "r4") == "run_done"


async def test_a_run_cancelled_before_it_asked_for_the_turn_never_gets_it() -> None:
    world = World()
    await world.ask("r0")
    await world.cancel("r0")
    await world.hand_newest("cancel_requested", 1)
    await world.ask("r2")
    await world.hand_newest("user_input", 0)
    await world.hand_newest("user_input", 0)
    assert await ended(world, "r0") == "run_cancelled"
