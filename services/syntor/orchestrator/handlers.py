"""Handles what can change a run's next decision: observe the trigger, decide, append, keep deadlines, acknowledge.

A crash between any two appends is repaired by the redelivery of the trigger: the same decisions follow from the log.
Several instances share the work; the expected revision of each append keeps them consistent.
"""

from __future__ import annotations

from syntor.contracts import subjects
from syntor.contracts.bounds import clip
from syntor.contracts.errors import MalformedMessageError
from syntor.contracts.events import Event
from syntor.contracts.ids import new_id
from syntor.contracts.request.v1 import MessageDeadLettered
from syntor.contracts.run.v1 import RunFailed, RunStarted
from syntor.contracts.session.v1 import TurnTaken
from syntor.eventsourcing.store import EventStore, NewEvent, Recorded
from syntor.jetstream.consumer import Delivery
from syntor.jetstream.timers import Timers
from syntor.metrics import Counter
from syntor.orchestrator import deadlines
from syntor.orchestrator.domain import run as runs
from syntor.orchestrator.lineage import caused_by
from syntor.orchestrator.runs import CachedRun, CachedRuns, UnreadableError
from syntor.orchestrator.turns import Turns
from syntor.runtime.telemetry import get_logger

SOURCE = "orchestrator"
_ENDED = Counter("syntor_runs_ended_total", "Runs this instance ended, by status", ("status",))
_DECISIONS = Counter("syntor_decisions_total", "Decisions this instance appended", ("event",))


class Decisions:
    """Handles every trigger of a run's decisions."""

    def __init__(
        self, store: EventStore, timers: Timers, *, cached_runs: int = 2_000, cached_sessions: int = 2_000
    ) -> None:
        self._store = store
        self._timers = timers
        self._runs = CachedRuns(store, SOURCE, cached=cached_runs)
        self._turns = Turns(store, SOURCE, self._runs, cached=cached_sessions)
        self._log = get_logger()

    @property
    def cached(self) -> int:
        """Runs in memory."""
        return len(self._runs)

    async def handle(self, delivery: Delivery) -> None:
        """Handle one trigger; safe to repeat.

        Raises:
            UnreadableError: the run's events cannot be read, and it has ended, or has no first event.
            InfrastructureError: the log could not be read or appended to, or other instances were always first.
            MalformedMessageError: the message belongs to no known run.
        """
        trigger = delivery.recorded
        event = trigger.event
        run_id = event.run_id if isinstance(event, TurnTaken) else trigger.envelope.runid
        if not run_id:
            raise MalformedMessageError(f"message {trigger.envelope.id} names no run")
        async with self._runs.hold_run(run_id) as run:
            if isinstance(event, MessageDeadLettered) and delivery.attempt > 1:
                await self._fail(run, trigger, runs.failure_of(event))  # folding the run may be what raises
                return
            try:
                await run.observe(trigger, fresh=delivery.attempt == 1)
                if not run.exists:
                    raise MalformedMessageError(f"run {run_id} has no first event")
                if not run.finished:
                    await self._advance(run, trigger)
            except UnreadableError as exc:
                message = f"the run's events cannot be read: {exc}"
                if not await self._fail(run, trigger, RunFailed(code=runs.UNREADABLE_LOG, message=clip(message))):
                    raise

    async def _advance(self, run: CachedRun, trigger: Recorded) -> None:
        """Append what the run calls for, until that is nothing."""
        state = run.state
        if not (state.has_turn or state.is_terminal or state.cancel):
            self._count(await self._turns.request(run, trigger))
        history = await self._turns.before(run)
        at = trigger.envelope.time
        lineage = caused_by(trigger, run.lineage, trigger.traceparent)

        def decide(state: runs.Run) -> Event | None:
            return runs.decide(state, at, history)

        self._report(run, await run.transact(decide, lineage, at, confirm=not state.is_terminal))
        if run.state.is_terminal:
            self._count(await self._turns.release(run, trigger))
        await deadlines.keep(self._timers, run)
        run.finished = run.state.is_terminal

    async def _fail(self, run: CachedRun, trigger: Recorded, event: RunFailed) -> bool:
        """End a run whose events cannot be read or folded; return False if it has ended or has no first event."""
        if not run.exists:
            await run.load_first(trigger.envelope.sessionid)
        if not run.exists or await self._store.last_of_each(subjects.run_ends(run.id)):
            return False
        new = NewEvent(
            aggregate_id=run.id,
            event=event,
            message_id=new_id(),
            source=SOURCE,
            time=trigger.envelope.time,
            version=0,
            lineage=caused_by(trigger, run.lineage, run.lineage.traceparent),
        )
        await self._store.append(new, await self._store.last_position(subjects.aggregate("run", run.id)))
        self._log.error("run_failed_unfolded", run_id=run.id, code=event.code, cause=event.message)
        run.state = runs.evolve(run.state, event, trigger.envelope.time)
        self._count(await self._turns.release(run, trigger))
        run.finished = True
        return True

    def _count(self, events: list[Event]) -> None:
        for event in events:
            _DECISIONS.labels(type(event).__name__).inc()

    def _report(self, run: CachedRun, events: list[Event]) -> None:
        self._count(events)
        for event in events:
            if isinstance(event, RunStarted):
                self._log.info("run_started", run_id=run.id, agent=run.state.agent, position=run.revision)
            else:
                self._log.debug("decided", run_id=run.id, event_type=type(event).__name__)
        if events and run.state.is_terminal:
            status = run.state.status or ""
            _ENDED.labels(status).inc()
            self._log.info("run_ended", run_id=run.id, status=status, position=run.revision)
