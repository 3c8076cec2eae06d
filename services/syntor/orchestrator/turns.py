"""Turns of a session: taken, released and passed on through the session aggregate."""

from __future__ import annotations

from syntor.contracts.envelope import Lineage
from syntor.contracts.events import Event
from syntor.contracts.session.v1 import TurnQueued, TurnReleased, TurnTaken
from syntor.eventsourcing.aggregate import Aggregates
from syntor.eventsourcing.store import EventStore, Recorded
from syntor.orchestrator.domain import session as sessions
from syntor.orchestrator.lineage import caused_by
from syntor.orchestrator.runs import CachedRun, CachedRuns


class Turns:
    """The turns of all sessions, as this instance knows them.

    A session that is behind the log has its appends refused, and never wrongly finds nothing to do: a queued run gets
    its turn from the instance that releases it. So "nothing" needs no confirmation by a read.
    """

    def __init__(self, store: EventStore, source: str, known_runs: CachedRuns, *, cached: int) -> None:
        self._sessions: Aggregates[sessions.Session] = Aggregates(store, sessions.DECIDER, source, cached=cached)
        self._runs = known_runs

    async def request(self, run: CachedRun, trigger: Recorded) -> list[Event]:
        """Request the turn for a run, or queue it; a run without a session has its turn. Return the appended events."""
        return await self._transact(run, trigger, ended=False)

    async def release(self, run: CachedRun, trigger: Recorded) -> list[Event]:
        """Release the turn of a run that ended, and pass it on. Return the appended events."""
        return await self._transact(run, trigger, ended=True)

    async def before(self, run: CachedRun) -> tuple[str, ...]:
        """Return the runs that had the turn before a run that is about to start, oldest first."""
        session_id = run.lineage.session_id
        if run.state.status != "created" or not run.state.has_turn or not session_id:
            return ()
        async with self._sessions.hold(session_id) as session:
            if run.id not in session.state.turns:
                await session.reload()
            return sessions.before(session.state, run.id)

    async def _transact(self, run: CachedRun, trigger: Recorded, *, ended: bool) -> list[Event]:
        session_id, at = run.lineage.session_id, trigger.envelope.time
        if not session_id:
            run.take_turn(at)
            return []

        async def lineage(event: Event) -> Lineage:
            assert isinstance(event, (TurnQueued, TurnTaken, TurnReleased))
            if event.run_id == run.id:
                return caused_by(trigger, run.lineage, trigger.traceparent)
            following = await self._runs.first_of(event.run_id, session_id)  # the turn is passed on to this run
            return caused_by(trigger, following.lineage, following.lineage.traceparent)

        async with self._sessions.hold(session_id) as session:
            appended = await session.transact(
                lambda state: sessions.decide(state, run.id, ended=ended), lineage, at, confirm=False
            )
            if session.state.holder == run.id:
                run.take_turn(at)
        return appended
