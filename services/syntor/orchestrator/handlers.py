"""The shell around the decisions: catch up, decide, append, until nothing is called for; then acknowledge.

A crash between any two appends is mended by the redelivery of the message: everything is asked again from the log.
Several instances share the work; the version check keeps them honest.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TypeVar

import msgspec

from syntor.contracts import subjects
from syntor.contracts.envelope import Envelope
from syntor.contracts.errors import MalformedMessageError, RevisionConflictError
from syntor.contracts.events import TASK_END_TYPES, Event
from syntor.contracts.ids import new_id
from syntor.contracts.session.v1 import TurnTaken
from syntor.contracts.timer.v1 import TimerDue
from syntor.eventsourcing.store import EventStore, NewEvent, Recorded
from syntor.jetstream.consumer import Delivery
from syntor.jetstream.timers import Timers
from syntor.orchestrator.domain import run as runs
from syntor.orchestrator.domain import session as sessions
from syntor.runtime.telemetry import child_traceparent, get_logger

SOURCE = "orchestrator"
V = TypeVar("V")


class RunView(msgspec.Struct):
    """A run's state with where in the log it stands."""

    run_id: str
    state: runs.Run = runs.INITIAL
    position: int = 0
    """Everything of the run up to here is folded."""
    revision: int = 0
    version: int = 0
    first_position: int = 0
    session_id: str = ""
    correlation_id: str = ""
    timer_attempt: int = 0
    """Attempt a deadline timer is set for."""


class SessionView(msgspec.Struct):
    """A session's state with where in the log it stands."""

    session_id: str
    state: sessions.Session = sessions.INITIAL
    revision: int = 0
    version: int = 0


class Locks:
    """A lock per key, kept only while somebody holds or wants it."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def hold(self, key: str) -> AsyncGenerator[None, None]:
        """Hold the lock of a key."""
        lock, users = self._locks.get(key, (None, 0))
        lock = lock or asyncio.Lock()
        self._locks[key] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            users = self._locks[key][1] - 1
            if users:
                self._locks[key] = (lock, users)
            else:
                del self._locks[key]


class Decisions:
    """Handles everything that can change what a run calls for next."""

    def __init__(self, store: EventStore, timers: Timers, cached_runs: int = 10_000) -> None:
        self._store = store
        self._timers = timers
        self._limit = cached_runs
        self._runs: OrderedDict[str, RunView] = OrderedDict()
        self._sessions: OrderedDict[str, SessionView] = OrderedDict()
        self._run_locks = Locks()
        self._session_locks = Locks()
        self._log = get_logger()

    @property
    def cached(self) -> int:
        """Runs in memory."""
        return len(self._runs)

    async def handle(self, delivery: Delivery) -> None:
        """Answer one message; safe to repeat.

        Raises:
            RevisionConflictError: another instance was first; ask again, the state is read anew.
            InfrastructureError: the log could not be read or appended to.
        """
        trigger = delivery.recorded
        event = trigger.event
        run_id = event.run_id if isinstance(event, TurnTaken) else trigger.envelope.runid
        if not run_id:
            raise MalformedMessageError(f"message {trigger.envelope.id} names no run")
        try:
            async with self._run_locks.hold(run_id):
                await self._answer(run_id, trigger, fresh=delivery.attempt == 1)
        except RevisionConflictError:
            self._forget(run_id, trigger.envelope.sessionid)
            raise

    def _forget(self, run_id: str, session_id: str) -> None:
        view = self._runs.pop(run_id, None)
        for known in {session_id, view.session_id if view else ""}:
            self._sessions.pop(known, None)

    async def _answer(self, run_id: str, trigger: Recorded, *, fresh: bool) -> None:
        view = await self._caught_up(run_id, trigger, fresh)
        if view.first_position == 0:
            raise MalformedMessageError(f"run {run_id} has no first event")
        at = trigger.envelope.time
        if not view.state.is_terminal and not view.state.has_turn:
            await self._session_step(view, trigger, ended=False)
        await self._decide(view, trigger, at)
        await self._keep_deadline(view)
        if view.state.is_terminal:
            await self._session_step(view, trigger, ended=True)

    async def _decide(self, view: RunView, trigger: Recorded, at: datetime) -> None:
        while True:
            before: tuple[str, ...] = ()
            if view.state.status is runs.Status.CREATED and view.state.has_turn:
                before = await self._turns_before(view)
            event = runs.decide(view.state, at, before)
            if event is None:
                return
            position = await self._store.append(self._new(view, event, trigger, at), view.revision)
            view.state = runs.evolve(view.state, event)
            view.revision, view.version = position, view.version + 1
            if view.state.is_terminal:
                self._log.info("run_ended", run_id=view.run_id, status=view.state.status.value, position=position)
            elif view.version == 2:
                self._log.info("run_began", run_id=view.run_id, agent=view.state.agent, position=position)

    def _new(self, view: RunView, event: Event, trigger: Recorded, at: datetime) -> NewEvent:
        return NewEvent(
            aggregate_id=view.run_id,
            event=event,
            message_id=new_id(),
            source=SOURCE,
            time=at,
            version=view.version + 1,
            run_id=view.run_id,
            session_id=view.session_id,
            causation_id=trigger.envelope.id,
            correlation_id=view.correlation_id,
            first_position=view.first_position,
            traceparent=child_traceparent(trigger.traceparent) if trigger.traceparent else "",
        )

    # catching up

    async def _caught_up(self, run_id: str, trigger: Recorded, fresh: bool) -> RunView:
        """Return the run's state with everything folded in that the log holds, at least up to the trigger."""
        view = self._runs.get(run_id)
        category = trigger.envelope.subject.partition(".")[0]
        if view is None:
            view = RunView(run_id)
            if category == "run" and fresh:  # the run's first event, first seen: nothing else can be in the log
                self._fold(view, trigger)
            else:
                await self._load(view)
        elif category in subjects.RUN_CATEGORIES and view.position < trigger.position:
            await self._load(view)
        if category not in subjects.RUN_CATEGORIES:  # a due timer, or the turn: not among the run's own messages
            view.state = runs.evolve(view.state, trigger.event)
        _remember(self._runs, run_id, view, self._limit)
        return view

    async def _load(self, view: RunView) -> None:
        """Fold what the log holds of the run behind the view's position."""
        if view.first_position == 0:
            first = await self._store.last(subjects.event("run", view.run_id, "user_input"))
            if first is None:
                return
            self._fold(view, first)
        async for recorded in self._store.load(
            subjects.run_everything(view.run_id), view.position, wanted=_concerns_runs
        ):
            self._fold(view, recorded)

    def _fold(self, view: RunView, recorded: Recorded) -> None:
        envelope: Envelope = recorded.envelope
        if envelope.subject.startswith("run."):
            if envelope.type == "user_input":
                view.first_position = recorded.position
                view.session_id, view.correlation_id = envelope.sessionid, envelope.correlationid
            view.revision, view.version = recorded.position, envelope.version
        view.state = runs.evolve(view.state, recorded.event)
        view.position = max(view.position, recorded.position)

    # turns

    async def _session(self, session_id: str) -> SessionView:
        """Return the session with everything folded in that the log holds.

        Asked of the log every time: a state that misses another instance's turn would call for nothing, and nothing
        would ever tell. The last event of the session says in one look-up whether there is more to read.
        """
        view = self._sessions.get(session_id) or SessionView(session_id)
        scope = subjects.aggregate("session", session_id)
        last = await self._store.last(scope)
        if last is not None and last.position > view.revision:
            async for recorded in self._store.load(scope, view.revision, last.position):
                view.state = sessions.evolve(view.state, recorded.event)
                view.revision, view.version = recorded.position, recorded.envelope.version
        _remember(self._sessions, session_id, view, self._limit)
        return view

    async def _turns_before(self, view: RunView) -> tuple[str, ...]:
        """Return the runs that had the session's turn before this one."""
        if not view.session_id:
            return ()
        known = self._sessions.get(view.session_id)
        if known is None or view.run_id not in known.state.turns:  # turns before a known one never change
            async with self._session_locks.hold(view.session_id):
                known = await self._session(view.session_id)
        return sessions.before(known.state, view.run_id)

    async def _session_step(self, run: RunView, trigger: Recorded, *, ended: bool) -> None:
        """Ask for the turn, or give it back and pass it on."""
        if not run.session_id:
            if not ended:
                run.state = runs.evolve(run.state, TurnTaken(run_id=run.run_id))
            return
        async with self._session_locks.hold(run.session_id):
            await self._take_turns(run, trigger, ended)

    async def _take_turns(self, run: RunView, trigger: Recorded, ended: bool) -> None:
        session = await self._session(run.session_id)
        at = trigger.envelope.time
        while (event := sessions.decide(session.state, run.run_id, ended=ended)) is not None:
            new = self._new(run, event, trigger, at)
            new = msgspec.structs.replace(
                new, aggregate_id=session.session_id, version=session.version + 1, run_id=event.run_id
            )
            position = await self._store.append(new, session.revision)
            session.state = sessions.evolve(session.state, event)
            session.revision, session.version = position, session.version + 1
        if session.state.holder == run.run_id and not run.state.has_turn:
            run.state = runs.evolve(run.state, TurnTaken(run_id=run.run_id))

    # deadlines

    async def _keep_deadline(self, view: RunView) -> None:
        """Set the deadline of a new attempt, and forget that of a run that ended."""
        name = f"task-{runs.ROOT_TASK}"
        due = runs.deadline(view.state)
        if due is not None and view.timer_attempt != view.state.attempt:
            await self._timers.set(
                view.run_id,
                name,
                due,
                TimerDue(name=runs.DEADLINE_TIMER, task_id=runs.ROOT_TASK, attempt=view.state.attempt),
                session_id=view.session_id,
                correlation_id=view.correlation_id,
                first_position=view.first_position,
            )
            view.timer_attempt = view.state.attempt
        elif view.state.is_terminal and view.state.attempt > 0 and view.timer_attempt >= 0:
            await self._timers.cancel(view.run_id, name)
            view.timer_attempt = -1


def _concerns_runs(subject: str) -> bool:
    """Tell whether a message of a run can change its state: its own, requests, and ends of tasks."""
    parsed = subjects.parse_event(subject)
    return parsed.category in ("run", "request") or parsed.type in TASK_END_TYPES


def _remember(cache: OrderedDict[str, V], key: str, view: V, limit: int) -> None:
    cache[key] = view
    cache.move_to_end(key)
    while len(cache) > limit:
        cache.popitem(last=False)
