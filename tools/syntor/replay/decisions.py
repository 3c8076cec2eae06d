"""Pure verification: makes every recorded decision again.

A decision is right when a state its writer can have seen calls for exactly it. The writer had folded the run's own
events, and of the messages from outside everything up to its trigger, and perhaps some that came later; so each such
state is tried. A decision whose cause is not in the log was triggered by a timer.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import msgspec

from syntor.contracts.events import TASK_DECISION_TYPES, Event
from syntor.contracts.run.v1 import RunCancelled, RunDone, RunFailed, RunStarted
from syntor.contracts.session.v1 import TurnQueued, TurnReleased, TurnTaken
from syntor.eventsourcing.store import Recorded
from syntor.orchestrator.domain import run as runs
from syntor.orchestrator.domain import session as sessions


class Mismatch(msgspec.Struct, frozen=True):
    """A recorded decision differs from the one made again."""

    position: int
    what: str
    expected: str
    found: str


class _Message(msgspec.Struct, frozen=True):
    """A message a run's state is folded from."""

    position: int
    message_id: str
    outside: bool
    """Neither the run's own event nor its turn: the writer of a decision may not have seen it yet."""
    event: Event
    task_id: str
    at: datetime


class _RunTrack(msgspec.Struct):
    messages: list[_Message] = []
    """In the order of the log; dropped when the run has ended."""
    ended: bool = False

    def add(self, recorded: Recorded, *, outside: bool) -> None:
        """Add a message."""
        if not self.ended:
            envelope = recorded.envelope
            category, _, rest = envelope.subject.partition(".")
            task_id = rest.partition(".")[2] if category == "task" else ""
            event, at = recorded.event, envelope.time
            self.messages.append(_Message(recorded.position, envelope.id, outside, event, task_id, at))

    def state(self, up_to: int) -> runs.Run:
        """Return the state with the messages from outside up to a position."""
        state = runs.DECIDER.initial
        for message in self.messages:
            if not message.outside or message.position <= up_to:
                state = runs.evolve(state, message.event, message.at, message.task_id)
        return state


class DecisionChecker:
    """Fed with events in log order, finds decisions that differ when made again."""

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
        """Add one event; return the mismatch if it is a decision that differs when made again."""
        envelope = recorded.envelope
        category = envelope.subject.partition(".")[0]
        if category == "session":
            return self._session(recorded)
        if category == "run":
            return self._run(recorded)
        if category == "request" or (category == "task" and envelope.type in TASK_DECISION_TYPES):
            self._outside(recorded)
        return None

    def _outside(self, recorded: Recorded, *, outside: bool = True) -> None:
        track = self._runs.get(recorded.envelope.runid)
        if track is not None:
            track.add(recorded, outside=outside)

    def _run(self, recorded: Recorded) -> Mismatch | None:
        envelope = recorded.envelope
        if envelope.type == "user_input":
            self._runs[envelope.runid] = self._begun(recorded)
            return None
        track = self._runs.get(envelope.runid)
        if track is None:
            return Mismatch(recorded.position, "run without a first event", "user_input", envelope.type)
        mismatch = self._check(recorded, track)
        track.add(recorded, outside=False)
        if isinstance(recorded.event, (RunDone, RunFailed, RunCancelled)):
            track.ended, track.messages = True, []
        return mismatch

    def _begun(self, recorded: Recorded) -> _RunTrack:
        track, envelope = _RunTrack(), recorded.envelope
        track.add(recorded, outside=False)
        if (
            not self._sessions_known or not envelope.sessionid
        ):  # the turn is not among the events fed, or none is needed
            turn = TurnTaken(run_id=envelope.runid)
            track.messages.append(_Message(recorded.position, envelope.id, False, turn, "", envelope.time))
        return track

    def _check(self, recorded: Recorded, track: _RunTrack) -> Mismatch | None:
        self.checked += 1
        what = f"decision of run {recorded.envelope.runid}"
        if track.ended:
            return Mismatch(recorded.position, what, "nothing: it has ended", _text(recorded.event))
        at, event = recorded.envelope.time, recorded.event
        if isinstance(event, RunFailed) and event.code == runs.UNREADABLE_LOG:
            return None  # based on events that cannot be read
        history = self._history(recorded) if isinstance(event, RunStarted) else ()
        expected: list[Event | None] = []
        for state in _candidates(recorded, track):
            expected.append(runs.decide(state, at, history))
            if expected[-1] == event:
                return None
        return Mismatch(recorded.position, what, _text(expected[0]), _text(event))

    def _history(self, recorded: Recorded) -> tuple[str, ...]:
        if not self._sessions_known:
            assert isinstance(recorded.event, RunStarted)
            return tuple(recorded.event.history)
        session = self._sessions.get(recorded.envelope.sessionid, sessions.DECIDER.initial)
        return sessions.before(session, recorded.envelope.runid)

    def _session(self, recorded: Recorded) -> Mismatch | None:
        event = recorded.event
        if not isinstance(event, (TurnQueued, TurnTaken, TurnReleased)):
            return None
        self.checked += 1
        session_id = recorded.envelope.subject.removeprefix("session.")
        session = self._sessions.get(session_id, sessions.DECIDER.initial)
        ended = isinstance(event, TurnReleased)
        expected = sessions.decide(session, event.run_id, ended=ended)
        passed_on = isinstance(event, TurnTaken) and not session.holder and session.queue[:1] == (event.run_id,)
        self._sessions[session_id] = sessions.DECIDER.evolve(session, event, recorded.envelope.time)
        track = self._runs.get(event.run_id)
        if isinstance(event, TurnTaken):
            self._outside(recorded, outside=False)
        if event == expected or passed_on:
            if ended and track is not None and not track.ended:
                return Mismatch(recorded.position, f"turn of session {session_id}", "a run that ended", _text(event))
            return None
        return Mismatch(recorded.position, f"turn of session {session_id}", _text(expected), _text(event))


def _candidates(recorded: Recorded, track: _RunTrack) -> Iterator[runs.Run]:
    """Yield the states the writer of a decision can have seen, the one with everything first."""
    ids = {message.message_id: message.position for message in track.messages}
    cause = ids.get(recorded.envelope.causationid, 0)
    ends = {message.position for message in track.messages if message.outside and message.position > cause}
    for up_to in sorted({*ends, cause, recorded.position}, reverse=True):
        state = track.state(up_to)
        yield state
        if not cause:
            for _, fired in runs.deadlines(state).values():
                yield runs.evolve(state, fired, recorded.envelope.time)


def _text(event: Event | None) -> str:
    if event is None:
        return "nothing"
    return f"{type(event).__name__} {msgspec.json.encode(event).decode()}"
