"""What the orchestrator knows of runs and sessions: folded from the log, kept in memory.

What is kept may be behind the log, because other instances append too. An append proves that nothing was missing: the
version check refuses it otherwise. So to decide that something is called for needs no reading of the aggregate's own
events; to decide that nothing is, needs the newest state. `proven` says whether a run's is known to be that. Messages
from outside are always folded up to the one being answered, so that the decision can be made again from the log.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime
from typing import TypeVar

import msgspec

from syntor.contracts import subjects
from syntor.contracts.errors import ContractError
from syntor.contracts.events import TASK_DECISION_TYPES, TASK_END_TYPES
from syntor.contracts.timer.v1 import TimerDue
from syntor.eventsourcing.store import EventStore, Recorded
from syntor.orchestrator.domain import run as runs
from syntor.orchestrator.domain import session as sessions

V = TypeVar("V")


class UnreadableError(ContractError):
    """A run has an event this version cannot read."""


class RunView(msgspec.Struct):
    """A run's state with where in the log it stands, and what its events have in common."""

    run_id: str
    state: runs.Run = runs.INITIAL
    position: int = 0
    """Everything of the run up to here is folded, as far as its own events are known."""
    revision: int = 0
    version: int = 0
    first_position: int = 0
    session_id: str = ""
    correlation_id: str = ""
    traceparent: str = ""
    """Trace context of the run's first event."""
    proven: bool = True
    """No event of the run before the last message answered is missing here."""
    timers: dict[str, tuple[datetime, TimerDue]] = {}
    """Timers this instance set, by name."""
    settled: bool = False
    """It ended, gave its turn back and has no timer: nothing will ever be called for again."""

    def fold(self, recorded: Recorded) -> None:
        """Take in a message of the run."""
        envelope = recorded.envelope
        if envelope.subject.startswith("run."):
            if envelope.type == "user_input":
                self.first_position = recorded.position
                self.session_id, self.correlation_id = envelope.sessionid, envelope.correlationid
                self.traceparent = recorded.traceparent
            self.revision, self.version = recorded.position, envelope.version
        self.state = runs.evolve(self.state, recorded.event, task_of(recorded), envelope.time)
        self.position = max(self.position, recorded.position)


class SessionView(msgspec.Struct):
    """A session's state with where in the log it stands; a session never heard of is taken to be new."""

    session_id: str
    state: sessions.Session = sessions.INITIAL
    revision: int = 0
    version: int = 0


class Views:
    """Views of runs and sessions; the least recently used are forgotten."""

    def __init__(self, store: EventStore, max_runs: int, max_sessions: int) -> None:
        self._store = store
        self._max_runs = max_runs
        self._max_sessions = max_sessions
        self._runs: OrderedDict[str, RunView] = OrderedDict()
        self._sessions: OrderedDict[str, SessionView] = OrderedDict()

    @property
    def runs(self) -> int:
        """Runs in memory."""
        return len(self._runs)

    async def run(self, run_id: str, trigger: Recorded, *, fresh: bool) -> RunView:
        """Return a run's state with a message folded in, and all that came before it from outside.

        Args:
            fresh: the message was never delivered before: behind a first event there is nothing yet.
        """
        view = self._runs.get(run_id)
        category = trigger.envelope.subject.partition(".")[0]
        if view is None and category == "run" and fresh:
            view = RunView(run_id)
            view.fold(trigger)
        elif view is None or category == "timer":  # timers are rare, and what they find decides that a run fails
            return await self.read_run(run_id, trigger)
        elif category == "session":
            if view.state.status is runs.Status.CREATED:
                await self._fold_outside(view, trigger)
            view.state = runs.evolve(view.state, trigger.event)
        elif view.position < trigger.position and not view.state.is_terminal:
            await self._fold_outside(view, trigger)
            view.fold(trigger)
            view.proven = False
        _remember(self._runs, run_id, view, self._max_runs)
        return view

    async def _fold_outside(self, view: RunView, trigger: Recorded) -> None:
        """Take in the messages from outside before a trigger that this instance may not have been given.

        Those of a run with one task are requests; all others no own event follows at once are of its tasks.
        """
        before = trigger.position - 1
        found = [r async for r in self._store.load(subjects.aggregate("request", view.run_id), view.position, before)]
        if len(view.state.tasks) > 1 or trigger.envelope.type in _SEVERAL or _has_gone_on(view.state):
            tasks = subjects.aggregate("task", view.run_id)
            found += [r async for r in self._store.load(tasks, view.position, before, wanted=_concerns_runs)]
            found.sort(key=lambda recorded: recorded.position)
        for recorded in found:
            view.fold(recorded)

    async def read_run(self, run_id: str, trigger: Recorded) -> RunView:
        """Return a run's state read from the log; where the log has no first event of it, with `first_position` 0."""
        view = RunView(run_id)
        category = trigger.envelope.subject.partition(".")[0]
        first = trigger.position if category == "run" else trigger.envelope.firstposition
        if not first:
            recorded = await self._store.last(subjects.event("run", run_id, "user_input"))
            first = recorded.position if recorded else 0
        if not first:
            return view
        try:
            async for recorded in self._store.load(subjects.run_everything(run_id), first - 1, wanted=_concerns_runs):
                view.fold(recorded)
        except ContractError as exc:
            raise UnreadableError(f"after position {view.position}: {exc}") from exc
        if category not in subjects.RUN_CATEGORIES:  # a due timer, or the turn: not among the run's own messages
            view.state = runs.evolve(view.state, trigger.event)
        _remember(self._runs, run_id, view, self._max_runs)
        return view

    async def first_of(self, run_id: str, session_id: str) -> RunView:
        """Return a view with at least what the events of a run have in common; its state may be behind."""
        view = self._runs.get(run_id)
        if view is None or not view.first_position:
            view = RunView(run_id, session_id=session_id)
            recorded = await self._store.last(subjects.event("run", run_id, "user_input"))
            if recorded is not None:
                view.fold(recorded)
        return view

    def forget_run(self, run_id: str) -> None:
        """Forget what is known of a run."""
        self._runs.pop(run_id, None)

    def session(self, session_id: str) -> SessionView:
        """Return what is known of a session; it may be behind."""
        view = self._sessions.get(session_id) or SessionView(session_id)
        _remember(self._sessions, session_id, view, self._max_sessions)
        return view

    async def catch_up(self, session: SessionView) -> None:
        """Fold what the log holds of a session and is not known yet."""
        scope = subjects.aggregate("session", session.session_id)
        async for recorded in self._store.load(scope, session.revision):
            session.state = sessions.evolve(session.state, recorded.event)
            session.revision, session.version = recorded.position, recorded.envelope.version


def task_of(recorded: Recorded) -> str:
    """Return the task that says something, empty where it is no task."""
    category, _, rest = recorded.envelope.subject.partition(".")
    return rest.partition(".")[2] if category == "task" else ""


_SEVERAL = TASK_DECISION_TYPES - TASK_END_TYPES  # what an agent says before its end comes with more of its kind


def _has_gone_on(state: runs.Run) -> bool:
    return any(task.resume for task in state.tasks.values())


def _concerns_runs(subject: str) -> bool:
    """Tell whether a message of a run can change its state: its own, requests, and what agents say that matters."""
    parsed = subjects.parse_event(subject)
    return parsed.category in ("run", "request") or parsed.type in TASK_DECISION_TYPES


def _remember(cache: OrderedDict[str, V], key: str, view: V, limit: int) -> None:
    cache[key] = view
    cache.move_to_end(key)
    while len(cache) > limit:
        cache.popitem(last=False)
