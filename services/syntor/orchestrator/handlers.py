"""The shell around the decisions: catch up, decide, append, until nothing is called for; then acknowledge.

A crash between any two appends is mended by the redelivery of the message: everything is asked again from the log.
Several instances share the work; the version check keeps them honest.
A deadline costs two requests a run, to set and to purge its schedule: together 0.5 ms and 0.25 ms of CPU, measured on
two cores; letting it come due to be ignored would cost more, later.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from syntor.contracts import subjects
from syntor.contracts.errors import MalformedMessageError, RevisionConflictError
from syntor.contracts.events import TERMINAL_RUN_TYPES, Event
from syntor.contracts.ids import new_id
from syntor.contracts.run.v1 import RunEvent, RunFailed, RunStarted
from syntor.contracts.session.v1 import SessionEvent, TurnTaken
from syntor.eventsourcing.store import EventStore, NewEvent, Recorded
from syntor.jetstream.consumer import Delivery
from syntor.jetstream.timers import Timers
from syntor.metrics import Counter
from syntor.orchestrator.domain import deciding
from syntor.orchestrator.domain import run as runs
from syntor.orchestrator.domain import session as sessions
from syntor.orchestrator.views import RunView, SessionView, UnreadableError, Views
from syntor.runtime.telemetry import child_traceparent, get_logger

SOURCE = "orchestrator"
_TURN_TRIES = 5  # appends to a session that lose against other instances before the message is handed back
_ENDED = Counter("syntor_runs_ended_total", "Runs this instance ended, by how", ("status",))
_DECIDED = Counter("syntor_decisions_total", "Decisions this instance appended", ("event",))


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

    def __init__(
        self, store: EventStore, timers: Timers, *, cached_runs: int = 10_000, cached_sessions: int = 2_000
    ) -> None:
        self._store = store
        self._timers = timers
        self._views = Views(store, cached_runs, cached_sessions)
        self._run_locks = Locks()
        self._session_locks = Locks()
        self._log = get_logger()

    @property
    def cached(self) -> int:
        """Runs in memory."""
        return self._views.runs

    async def handle(self, delivery: Delivery) -> None:
        """Answer one message; safe to repeat.

        Raises:
            RevisionConflictError: other instances were first, twice; ask again.
            InfrastructureError: the log could not be read or appended to.
            MalformedMessageError: the message is of no run there is.
        """
        trigger = delivery.recorded
        event = trigger.event
        run_id = event.run_id if isinstance(event, TurnTaken) else trigger.envelope.runid
        if not run_id:
            raise MalformedMessageError(f"message {trigger.envelope.id} names no run")
        async with self._run_locks.hold(run_id):
            try:
                await self._answer(run_id, trigger, fresh=delivery.attempt == 1)
            except RevisionConflictError:
                await self._answer_again(run_id, trigger)
            except UnreadableError as exc:
                await self._give_up(run_id, trigger, exc)

    async def _answer_again(self, run_id: str, trigger: Recorded) -> None:
        self._views.forget_run(run_id)
        try:
            await self._answer(run_id, trigger, fresh=False)
        except RevisionConflictError:
            self._views.forget_run(run_id)
            raise
        except UnreadableError as exc:
            await self._give_up(run_id, trigger, exc)

    async def _give_up(self, run_id: str, trigger: Recorded, cause: UnreadableError) -> None:
        """End a run whose own events this version cannot read: nothing can be decided about it any more."""
        self._views.forget_run(run_id)
        terminal = [subjects.event("run", run_id, type_) for type_ in sorted(TERMINAL_RUN_TYPES)]
        view = await self._views.first_of(run_id, trigger.envelope.sessionid)
        if not view.first_position or await self._store.last_of_each(terminal):
            raise cause
        event = RunFailed(code=deciding.UNREADABLE_LOG, message=f"the run's events cannot be read: {cause}")
        new = _new(view, event, run_id, 0, trigger, view.traceparent)
        await self._store.append(new, await self._store.last_position(subjects.aggregate("run", run_id)))
        self._log.error("run_unreadable", run_id=run_id, cause=str(cause))
        view.state = runs.evolve(view.state, event)
        await self._turns(view, trigger, ended=True)
        self._views.forget_run(run_id)

    async def _answer(self, run_id: str, trigger: Recorded, *, fresh: bool) -> None:
        view = await self._views.run(run_id, trigger, fresh=fresh)
        if not view.first_position:
            raise MalformedMessageError(f"run {run_id} has no first event")
        if view.settled:
            return
        await self._work_off(view, trigger)
        if not view.proven and not view.state.is_terminal:  # it seems that nothing is called for, but is that all?
            await self._work_off(await self._views.read_run(run_id, trigger), trigger)

    async def _work_off(self, view: RunView, trigger: Recorded) -> None:
        """Do what the run calls for, until that is nothing."""
        state = view.state
        if not (state.has_turn or state.is_terminal or state.cancel):
            await self._turns(view, trigger, ended=False)
        await self._decide(view, trigger)
        if view.state.is_terminal:
            await self._turns(view, trigger, ended=True)
        await self._keep_timers(view)
        view.settled = view.state.is_terminal

    async def _decide(self, view: RunView, trigger: Recorded) -> None:
        at = trigger.envelope.time
        while (event := deciding.decide(view.state, at, await self._before(view))) is not None:
            new = _new(view, event, view.run_id, view.version + 1, trigger, trigger.traceparent)
            position = await self._store.append(new, view.revision)
            view.state = runs.evolve(view.state, event, at=at)
            view.revision, view.version, view.proven = position, view.version + 1, True
            self._tell(view, event, position)

    def _tell(self, view: RunView, event: RunEvent, position: int) -> None:
        _DECIDED.labels(type(event).__name__).inc()
        if view.state.is_terminal:
            status = view.state.status.value
            _ENDED.labels(status).inc()
            self._log.info("run_ended", run_id=view.run_id, status=status, position=position)
        elif isinstance(event, RunStarted):
            self._log.info("run_began", run_id=view.run_id, agent=view.state.agent, position=position)
        else:
            self._log.debug("decided", run_id=view.run_id, event_type=type(event).__name__, position=position)

    # turns

    async def _before(self, run: RunView) -> tuple[str, ...]:
        """Return the runs that had the turn before one that is about to start, oldest first."""
        if run.state.status is not runs.Status.CREATED or not run.state.has_turn or not run.session_id:
            return ()
        async with self._session_locks.hold(run.session_id):
            session = self._views.session(run.session_id)
            if run.run_id not in session.state.turns:
                await self._views.catch_up(session)
            return sessions.before(session.state, run.run_id)

    async def _turns(self, run: RunView, trigger: Recorded, *, ended: bool) -> None:
        """Ask for the turn, or give it back and pass it on."""
        if not run.session_id:  # a run without a session need not wait
            run.state = runs.evolve(run.state, TurnTaken(run_id=run.run_id))
            return
        async with self._session_locks.hold(run.session_id):
            session = self._views.session(run.session_id)
            await self._take_turns(session, run, trigger, ended)
        if session.state.holder == run.run_id:
            run.state = runs.evolve(run.state, TurnTaken(run_id=run.run_id))

    async def _take_turns(self, session: SessionView, run: RunView, trigger: Recorded, ended: bool) -> None:
        """Append what the session calls for; one that is behind can only be refused, never find nothing to do."""
        tries = 0
        while (event := sessions.decide(session.state, run.run_id, ended=ended)) is not None:
            try:
                await self._append_turn(session, event, run, trigger)
            except RevisionConflictError:
                tries += 1
                if tries == _TURN_TRIES:
                    raise
                await self._views.catch_up(session)

    async def _append_turn(self, session: SessionView, event: SessionEvent, run: RunView, trigger: Recorded) -> None:
        traceparent = trigger.traceparent
        if event.run_id != run.run_id:  # the turn is passed on: from here on it is the next run's story
            run = await self._views.first_of(event.run_id, session.session_id)
            traceparent = run.traceparent
        new = _new(run, event, session.session_id, session.version + 1, trigger, traceparent)
        position = await self._store.append(new, session.revision)
        session.state = sessions.evolve(session.state, event)
        session.revision, session.version = position, session.version + 1
        _DECIDED.labels(type(event).__name__).inc()

    # timers

    async def _keep_timers(self, view: RunView) -> None:
        """Set what the run needs a timer for, and forget what it does not need any more."""
        wanted = deciding.deadlines(view.state)
        for name, (due, event) in wanted.items():
            if view.timers.get(name) != (due, event):
                await self._timers.set(
                    view.run_id,
                    name,
                    due,
                    event,
                    session_id=view.session_id,
                    correlation_id=view.correlation_id,
                    first_position=view.first_position,
                    traceparent=view.traceparent,
                )
                view.timers[name] = due, event
        known = list(view.timers)
        if view.state.is_terminal:  # also those another instance set
            known += [f"task-{task.id}" for task in view.state.tasks.values() if task.attempt]
        for name in dict.fromkeys(known):
            if name not in wanted:
                await self._timers.cancel(view.run_id, name)
                view.timers.pop(name, None)


def _new(run: RunView, event: Event, aggregate_id: str, version: int, trigger: Recorded, traceparent: str) -> NewEvent:
    return NewEvent(
        aggregate_id=aggregate_id,
        event=event,
        message_id=new_id(),
        source=SOURCE,
        time=trigger.envelope.time,
        version=version,
        run_id=run.run_id,
        session_id=run.session_id,
        causation_id=trigger.envelope.id,
        correlation_id=run.correlation_id,
        first_position=run.first_position,
        traceparent=child_traceparent(traceparent) if traceparent else "",
    )
