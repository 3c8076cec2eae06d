"""Runs as the orchestrator keeps them in memory: the run aggregate, fed with messages from outside.

A run's own events are covered by the expected revision of its appends. Messages from outside (requests, events of
tasks) are always folded up to the trigger, so that the decision can be made again from the log.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime

import msgspec

from syntor.contracts import subjects
from syntor.contracts.envelope import Lineage
from syntor.contracts.errors import ContractError
from syntor.contracts.events import TASK_DECISION_TYPES, TASK_END_TYPES
from syntor.contracts.run.v1 import UserInput
from syntor.contracts.session.v1 import TurnTaken
from syntor.contracts.timer.v1 import TimerFired
from syntor.eventsourcing.aggregate import Aggregate, Aggregates
from syntor.eventsourcing.store import EventStore, Recorded
from syntor.orchestrator.domain import run as runs

_INTERMEDIATE = TASK_DECISION_TYPES - TASK_END_TYPES  # before a task's end several of these may follow each other


class UnreadableError(ContractError):
    """A run has an event this version cannot read."""


class CachedRun(Aggregate[runs.Run]):
    """A run in memory, with what its events have in common."""

    def __init__(self, store: EventStore, run_id: str, source: str) -> None:
        super().__init__(store, runs.DECIDER, run_id, source)
        self.position = 0
        """Messages of the run up to here are folded, as far as they come from outside."""
        self.lineage = Lineage(run_id=run_id)
        """Lineage of its first event: session, correlation, first position, trace context."""
        self.timers: dict[str, tuple[datetime, TimerFired]] = {}
        """Timers this instance set, by name."""
        self.finished = False
        """It is terminal, released its turn and has no timer: no trigger calls for anything any more."""
        self._trigger: Recorded | None = None
        self._holds_turn = False

    def enter(self) -> None:
        """Begin a transaction; `observe` says whether the state is still up to date."""

    @property
    def exists(self) -> bool:
        """Whether its first event is known."""
        return self.lineage.first_position > 0

    def fold(self, recorded: Recorded) -> None:
        """Apply a message of the run: its own event, a request, or an event of one of its tasks."""
        envelope = recorded.envelope
        own = envelope.subject.startswith("run.")
        if own and isinstance(recorded.event, UserInput):
            self._record_lineage(recorded)
        self.state = runs.evolve(self.state, recorded.event, envelope.time, task_of(recorded))
        if own:
            self.revision, self.version = recorded.position, envelope.version
        self.position = max(self.position, recorded.position)

    def _record_lineage(self, first: Recorded) -> None:
        self.lineage = msgspec.structs.replace(first.lineage(), causation_id="", first_position=first.position)

    async def observe(self, trigger: Recorded, *, fresh: bool) -> None:
        """Fold a trigger and all messages from outside before it; one that was folded before changes nothing.

        Args:
            fresh: the trigger was never delivered before: after a first event there is nothing in the log yet.
        """
        self._trigger = trigger
        self._holds_turn |= isinstance(trigger.event, TurnTaken)
        category = trigger.envelope.subject.partition(".")[0]
        if not self.exists and category == "run" and fresh:
            self.fold(trigger)
            self.up_to_date = True
        elif not self.exists or category == "timer":  # timers are rare, and their decision fails a run
            await self.reload()
        elif category == "session":
            if self.state.status == "created":
                await self._fold_outside(trigger)
            self.take_turn(trigger.envelope.time)
        elif self.position < trigger.position and not self.state.is_terminal:
            await self._fold_outside(trigger)
            self.fold(trigger)
            self.up_to_date = False

    def take_turn(self, at: datetime) -> None:
        """Record that the run has its session's turn, which stays true until it ends."""
        self._holds_turn = True
        self.state = runs.evolve(self.state, TurnTaken(run_id=self.id), at)

    async def reload(self) -> None:
        """Fold the run again from its first event.

        Raises:
            UnreadableError: this version cannot read one of its events.
        """
        trigger = self._trigger
        first = await self._first_position(trigger)
        self.state, self.revision, self.version, self.position = runs.INITIAL, 0, 0, 0
        self.up_to_date = True
        if not first:
            return
        try:
            everything = self._store.load(subjects.run_everything(self.id), first - 1, wanted=handles)
            async for recorded in everything:
                self.fold(recorded)
        except ContractError as exc:
            raise UnreadableError(f"after position {self.position}: {exc}") from exc
        if trigger is None:
            return
        if isinstance(trigger.event, TimerFired):  # not in the log
            self.state = runs.evolve(self.state, trigger.event, trigger.envelope.time)
        if self._holds_turn:  # in the log of its session
            self.take_turn(trigger.envelope.time)

    async def load_first(self, session_id: str) -> None:
        """Make the lineage known; the state stays as it is."""
        if self.exists:
            return
        first = await self._store.last(subjects.of_type(UserInput, self.id))
        if first is None:
            self.lineage = msgspec.structs.replace(self.lineage, session_id=session_id)
        else:
            self._record_lineage(first)

    async def _first_position(self, trigger: Recorded | None) -> int:
        if self.exists:
            return self.lineage.first_position
        if trigger is not None and trigger.envelope.subject.startswith("run."):
            return trigger.position
        if trigger is not None and trigger.envelope.firstposition:
            return trigger.envelope.firstposition
        recorded = await self._store.last(subjects.of_type(UserInput, self.id))
        return recorded.position if recorded is not None else 0

    async def _fold_outside(self, trigger: Recorded) -> None:
        """Fold the messages from outside before a trigger that may not have been delivered to this instance.

        Those of a run with one task are requests; all other events of its tasks cause an event of the run's own.
        """
        before = trigger.position - 1
        requests = subjects.aggregate("request", self.id)
        try:
            found = [recorded async for recorded in self._store.load(requests, self.position, before)]
            resumed = any(task.resume for task in self.state.tasks.values())
            if len(self.state.tasks) > 1 or trigger.envelope.type in _INTERMEDIATE or resumed:
                tasks = subjects.aggregate("task", self.id)
                found += [recorded async for recorded in self._store.load(tasks, self.position, before, wanted=handles)]
                found.sort(key=lambda recorded: recorded.position)
        except ContractError as exc:
            raise UnreadableError(f"after position {self.position}: {exc}") from exc
        for recorded in found:
            self.fold(recorded)


class CachedRuns(Aggregates[runs.Run]):
    """The runs in memory."""

    def __init__(self, store: EventStore, source: str, *, cached: int) -> None:
        super().__init__(store, runs.DECIDER, source, cached=cached)

    def _create(self, aggregate_id: str, after: int) -> CachedRun:
        del after  # a run finds its first event by itself
        return CachedRun(self._store, aggregate_id, self._source)

    @asynccontextmanager
    async def hold_run(self, run_id: str) -> AsyncGenerator[CachedRun, None]:
        """Hold the lock of a run."""
        async with self.hold(run_id) as run:
            assert isinstance(run, CachedRun)
            yield run

    async def first_of(self, run_id: str, session_id: str) -> CachedRun:
        """Return a run with at least its lineage; its state may be behind the log."""
        run = self.find(run_id)
        if not isinstance(run, CachedRun) or not run.exists:
            run = CachedRun(self._store, run_id, self._source)
            await run.load_first(session_id)
        return run


def task_of(recorded: Recorded) -> str:
    """Return the task an event belongs to, empty where it is no event of a task."""
    category, _, rest = recorded.envelope.subject.partition(".")
    return rest.partition(".")[2] if category == "task" else ""


def handles(subject: str) -> bool:
    """Return whether a message can change a run's state: its own events, requests, and the ends and needs of tasks."""
    parsed = subjects.parse_event(subject)
    return parsed.category in ("run", "request") or parsed.type in TASK_DECISION_TYPES
