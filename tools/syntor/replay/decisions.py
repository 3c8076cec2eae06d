"""Decides every recorded decision again: pure.

A decision is right when the state its writer can have seen calls for exactly it. The writer had folded everything up
to the message it answered, and perhaps some that came after; so each such state is asked.
"""

from __future__ import annotations

import msgspec

from syntor.contracts.events import TASK_END_TYPES, Event
from syntor.contracts.run.v1 import RunStarted
from syntor.contracts.session.v1 import TurnQueued, TurnReleased, TurnTaken
from syntor.contracts.timer.v1 import TimerDue
from syntor.eventsourcing.store import Recorded
from syntor.orchestrator.domain import run as runs
from syntor.orchestrator.domain import session as sessions


class Mismatch(msgspec.Struct, frozen=True):
    """Something recorded is not what it should be."""

    position: int
    what: str
    expected: str
    found: str


class _RunTrack(msgspec.Struct):
    states: list[runs.Run]
    """The state after the run's last own event, then after each message from outside since."""


class DecisionChecker:
    """Fed with events in order, finds decisions that are not what would be decided."""

    def __init__(self, *, sessions_known: bool = True) -> None:
        """Start.

        Args:
            sessions_known: False for an export of single runs, which does not have the events of their sessions.
        """
        self._runs: dict[str, _RunTrack] = {}
        self._sessions: dict[str, sessions.Session] = {}
        self._sessions_known = sessions_known
        self.checked = 0

    def feed(self, recorded: Recorded) -> Mismatch | None:
        """Take one event; return what is wrong with it, if it is a decision and is wrong."""
        envelope = recorded.envelope
        category = envelope.subject.partition(".")[0]
        if category == "session":
            return self._session(recorded)
        if category == "run":
            return self._run(recorded)
        if category == "request" or (category == "task" and envelope.type in TASK_END_TYPES):
            self._outside(envelope.runid, recorded.event)
        return None

    def _outside(self, run_id: str, event: Event) -> None:
        track = self._runs.get(run_id)
        if track is not None:
            track.states.append(runs.evolve(track.states[-1], event))

    def _run(self, recorded: Recorded) -> Mismatch | None:
        envelope, event = recorded.envelope, recorded.event
        track = self._runs.get(envelope.runid)
        if envelope.type == "user_input":
            state = runs.evolve(runs.INITIAL, event)
            if not self._sessions_known or not envelope.sessionid:
                state = runs.evolve(state, TurnTaken(run_id=envelope.runid))
            self._runs[envelope.runid] = _RunTrack([state])
            return None
        if track is None:
            return Mismatch(recorded.position, "run without a first event", "user_input", envelope.type)
        mismatch = self._check(recorded, track)
        track.states = [runs.evolve(track.states[-1], event)]
        return mismatch

    def _check(self, recorded: Recorded, track: _RunTrack) -> Mismatch | None:
        self.checked += 1
        at, event = recorded.envelope.time, recorded.event
        history: tuple[str, ...] = ()
        if isinstance(event, RunStarted):
            history = self._history(recorded)
        candidates = list(track.states)
        due = TimerDue(name=runs.DEADLINE_TIMER, task_id=runs.ROOT_TASK, attempt=track.states[-1].attempt)
        candidates += [runs.evolve(state, due) for state in track.states]  # timers are not in this log
        expected = [runs.decide(state, at, history) for state in candidates]
        if event in expected:
            return None
        return Mismatch(
            recorded.position, f"decision of run {recorded.envelope.runid}", _text(expected[len(track.states) - 1]),
            _text(event),
        )  # fmt: skip

    def _history(self, recorded: Recorded) -> tuple[str, ...]:
        if not self._sessions_known:
            assert isinstance(recorded.event, RunStarted)
            return tuple(recorded.event.history)
        session = self._sessions.get(recorded.envelope.sessionid, sessions.INITIAL)
        return sessions.before(session, recorded.envelope.runid)

    def _session(self, recorded: Recorded) -> Mismatch | None:
        event = recorded.event
        if not isinstance(event, (TurnQueued, TurnTaken, TurnReleased)):
            return None
        self.checked += 1
        session_id = recorded.envelope.subject.removeprefix("session.")
        session = self._sessions.get(session_id, sessions.INITIAL)
        ended = isinstance(event, TurnReleased)
        expected = sessions.decide(session, event.run_id, ended=ended)
        passed_on = isinstance(event, TurnTaken) and not session.holder and session.queue[:1] == (event.run_id,)
        self._sessions[session_id] = sessions.evolve(session, event)
        track = self._runs.get(event.run_id)
        if isinstance(event, TurnTaken):
            self._outside(event.run_id, event)
        if event == expected or passed_on:
            if ended and track is not None and not track.states[-1].is_terminal:
                return Mismatch(recorded.position, f"turn of session {session_id}", "a run that ended", _text(event))
            return None
        return Mismatch(recorded.position, f"turn of session {session_id}", _text(expected), _text(event))


def _text(event: Event | None) -> str:
    if event is None:
        return "nothing"
    return f"{type(event).__name__} {msgspec.json.encode(event).decode()}"
