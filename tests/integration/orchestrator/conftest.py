"""Orchestrators on a real server, and everything around them: who asks, who works, and what is in the log."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from syntor.contracts import subjects
from syntor.contracts.envelope import Lineage
from syntor.contracts.errors import ContractError, NotReachableError
from syntor.contracts.events import Event
from syntor.contracts.ids import new_id
from syntor.contracts.request.v1 import CancelRequested
from syntor.contracts.run.v1 import RunCancelled, RunDone, RunFailed, TaskAssigned, UserInput
from syntor.contracts.session.v1 import TurnReleased
from syntor.contracts.task.v1 import AgentInvokeDone, AgentInvokeStarted
from syntor.contracts.topology import ORCHESTRATOR_DECISIONS, ORCHESTRATOR_TIMERS
from syntor.eventsourcing.dead_letters import record_in_run
from syntor.eventsourcing.store import NewEvent, Recorded
from syntor.jetstream.connection import connect
from syntor.jetstream.consumer import Consumer, Delivery
from syntor.jetstream.store import JetStreamStore
from syntor.jetstream.tail import Tail
from syntor.jetstream.timers import Timers
from syntor.orchestrator.handlers import Decisions

WAIT_S = 30.0
DONE = AgentInvokeDone(final_message="hi")


class DyingStore(JetStreamStore):
    """The log, as seen by a process that dies at its n-th append: before or just after it is stored."""

    dies_at = 0
    stored = False
    count = 0

    async def append(self, new: NewEvent, expected_revision: int | None) -> int:
        """Append, or die."""
        self.count += 1
        if self.count == self.dies_at and not self.stored:
            raise NotReachableError("died before it was stored")
        position = await super().append(new, expected_revision)
        if self.count == self.dies_at:
            raise NotReachableError("died after it was stored")
        return position


class Instance:
    """One orchestrator with a connection of its own; after a death it knows nothing any more."""

    def __init__(
        self, connection: Any, *, dies_at: int = 0, stored: bool = False, dead_letters_recorded: bool = False
    ) -> None:
        self.store = DyingStore(connection, group_commit=False)
        self.store.dies_at, self.store.stored = dies_at, stored
        self._timers = Timers(connection, "orchestrator")
        self.decisions = Decisions(self.store, self._timers)
        record = record_in_run(self.store, "orchestrator", lambda: datetime.now(UTC)) if dead_letters_recorded else None
        self.consumers = [
            Consumer(connection, spec, self.handle, max_concurrent=64, on_dead_lettered=record)
            for spec in (ORCHESTRATOR_DECISIONS, ORCHESTRATOR_TIMERS)
        ]

    async def handle(self, delivery: Delivery) -> None:
        """Hand a message on."""
        try:
            await self.decisions.handle(delivery)
        except NotReachableError:
            self.decisions = Decisions(self.store, self._timers)
            raise


class Scene:
    """Asks for runs, works on tasks, and follows the log."""

    def __init__(self, log: Any) -> None:
        self.log = log
        self.events: list[Recorded] = []
        self.answers: dict[str, list[Event | None]] = {}
        """What the agent answers to each attempt of a run; None: nothing ever. Without an entry: done."""
        self.work: dict[str, Callable[[TaskAssigned], list[Event]]] = {}
        """What agents say to each assignment of a run, instead of `answers`."""
        self._news = asyncio.Event()
        self._sessions: dict[str, str] = {}

    async def follow(self, tail: Tail) -> None:
        """Take in what comes into the log, and work on tasks."""
        async for batch in tail.batches():
            for raw in batch:
                try:
                    recorded = await self.log.store.recorded.read(raw)
                except ContractError:  # a message a test made unreadable
                    continue
                self.events.append(recorded)
                if isinstance(recorded.event, TaskAssigned):
                    await self._work(recorded, recorded.event)
            self._news.set()

    async def _work(self, recorded: Recorded, task: TaskAssigned) -> None:
        run_id = recorded.envelope.runid
        answers = self.answers.get(run_id, [DONE, DONE, DONE])
        aggregate_id = f"{run_id}.{task.task_id}"
        started = AgentInvokeStarted(agent=task.agent, instance="i", attempt=task.attempt, resume=task.resume)
        await self.write(started, run_id, aggregate_id=aggregate_id)
        if run_id in self.work:
            for event in self.work[run_id](task):
                await self.write(event, run_id, aggregate_id=aggregate_id)
            return
        answer = answers[task.attempt - 1]
        if answer is not None:
            await self.write(answer, run_id, aggregate_id=aggregate_id)

    async def write(self, event: Event, run_id: str, *, aggregate_id: str = "", traceparent: str = "") -> int:
        """Append an event of another service than the orchestrator."""
        lineage = Lineage(
            run_id=run_id,
            session_id=self._sessions.get(run_id, ""),
            correlation_id=f"c-{run_id}",
            traceparent=traceparent,
        )
        new = NewEvent(
            aggregate_id=aggregate_id or run_id,
            event=event,
            message_id=new_id(),
            source="test",
            time=datetime.now(UTC),
            version=int(isinstance(event, UserInput)),
            lineage=lineage,
        )
        position: int = await self.log.store.append(new, None)
        return position

    async def ask(self, run_id: str, session_id: str = "s1", timeout_s: float = 60.0, traceparent: str = "") -> int:
        """Request a run."""
        self._sessions[run_id] = session_id
        event = UserInput(agent="git", queue="git", content="x", timeout_s=timeout_s)
        return await self.write(event, run_id, traceparent=traceparent)

    async def cancel(self, run_id: str) -> int:
        """Want a run stopped."""
        return await self.write(CancelRequested(reason="enough", requested_by="me"), run_id)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the log has what a condition wants."""
        async with asyncio.timeout(WAIT_S):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def until_over(self, *run_ids: str) -> None:
        """Wait until runs have ended and gave their turns back."""
        await self.until(lambda: set(run_ids) <= self.ended() & self.released())

    def ended(self) -> set[str]:
        """Return the runs that have ended."""
        return {e.envelope.runid for e in self.events if isinstance(e.event, (RunDone, RunFailed, RunCancelled))}

    def released(self) -> set[str]:
        """Return the runs that gave their turn back, or have no session."""
        without = {run_id for run_id, session_id in self._sessions.items() if not session_id}
        return {e.event.run_id for e in self.events if isinstance(e.event, TurnReleased)} | without

    def of(self, run_id: str) -> list[Recorded]:
        """Return everything about one run, its turns included."""
        return [recorded for recorded in self.events if recorded.envelope.runid == run_id]

    def types(self, run_id: str) -> list[str]:
        """Return the types of everything about one run."""
        return [recorded.envelope.type for recorded in self.of(run_id)]


@pytest.fixture
async def scene(log: Any) -> AsyncIterator[Scene]:
    """Everything around the orchestrators."""
    made = Scene(log)
    tail = Tail(log.connection, [subjects.ALL_EVENTS], after=0)
    await tail.ready()
    following = asyncio.create_task(made.follow(tail))
    yield made
    following.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await following
    await tail.close()


Start = Callable[..., Awaitable[Instance]]


@pytest.fixture
async def start(log: Any) -> AsyncIterator[Start]:
    """Starts an orchestrator; `dies_at` its n-th append, `stored` or not."""
    async with AsyncExitStack() as stack:

        async def started(**fields: Any) -> Instance:
            connection = await connect(log.server.url, "syntor/orchestrator/test")
            stack.push_async_callback(connection.close)
            instance = Instance(connection, **fields)
            for consumer in instance.consumers:
                await consumer.start()
                stack.push_async_callback(consumer.stop)
            return instance

        yield started


@pytest.fixture
def wrong(scene: Scene) -> Callable[[], list[str]]:
    """Says what is wrong with the whole log: turns that overlap, versions with gaps, decisions not to be made again."""
    from syntor.replay.decisions import DecisionChecker

    def find() -> list[str]:
        checker, holder, found = DecisionChecker(), dict[str, str](), list[str]()
        versions: dict[str, int] = {}
        for recorded in scene.events:
            envelope, session = recorded.envelope, recorded.envelope.sessionid
            if (mismatch := checker.feed(recorded)) is not None:
                found.append(msgspec.json.encode(mismatch).decode())
            if envelope.source == "syntor/orchestrator":
                last = versions.get(envelope.subject, int(envelope.subject.startswith("run.")))
                if envelope.version != last + 1:
                    found.append(f"{recorded.position}: version {envelope.version} behind {last}")
                versions[envelope.subject] = envelope.version
                if envelope.correlationid != f"c-{envelope.runid}":
                    found.append(f"{recorded.position}: correlation {envelope.correlationid}")
            match envelope.type:
                case "turn_taken":
                    if holder.get(session):
                        found.append(f"{recorded.position}: the turn of {holder[session]} is taken")
                    holder[session] = envelope.runid
                case "turn_released" if holder.get(session) == envelope.runid:
                    holder[session] = ""
                case "run_started" | "task_assigned" if session and holder.get(session) != envelope.runid:
                    found.append(f"{recorded.position}: {envelope.runid} works without the turn")
                case _:
                    pass
        return found

    return find
