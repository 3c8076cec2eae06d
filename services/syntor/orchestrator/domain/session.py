"""Pure session aggregate: the turns of its runs. Runs of a session work one at a time, in order of their requests.

A session is folded from its own events only, in log order. `decide` is called for a run that wants the turn or has
ended, until it returns None; after a release it also returns the TurnTaken of the next run. To replay a recorded
history, call it before each event with the run the event names, `ended` for a TurnReleased; a TurnTaken may instead be
the decision for the run that ended before it.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from syntor.contracts.events import Event
from syntor.contracts.session.v1 import SessionEvent, TurnQueued, TurnReleased, TurnTaken
from syntor.eventsourcing.decider import Decider


class Session(msgspec.Struct, frozen=True):
    """State of one session."""

    holder: str = ""
    """Run that has the turn; empty: none."""
    queue: tuple[str, ...] = ()
    """Queued runs, in order."""
    turns: tuple[str, ...] = ()
    """Runs that had or have the turn, oldest first, at most the newest `KEPT_TURNS`."""
    finished: tuple[str, ...] = ()
    """Runs that ended and released the turn, newest last, at most `KEPT_FINISHED`."""


KEPT_TURNS = 200  # more than an agent's history needs; bounds the state of a long session
KEPT_FINISHED = 400  # a late message of a run that ended before these adds one TurnReleased, which changes nothing
INITIAL = Session()


def evolve(session: Session, event: Event, at: datetime) -> Session:
    """Apply one event."""
    del at  # turns depend on order only
    replace = msgspec.structs.replace
    match event:
        case TurnQueued(run_id=run_id):
            return replace(session, queue=(*session.queue, run_id))
        case TurnTaken(run_id=run_id):
            queue = tuple(waiting for waiting in session.queue if waiting != run_id)
            return replace(session, holder=run_id, queue=queue, turns=(*session.turns, run_id)[-KEPT_TURNS:])
        case TurnReleased(run_id=run_id):
            queue = tuple(waiting for waiting in session.queue if waiting != run_id)
            holder = "" if session.holder == run_id else session.holder
            finished = (*session.finished, run_id)[-KEPT_FINISHED:]
            return replace(session, holder=holder, queue=queue, finished=finished)
        case _:
            return session


DECIDER: Decider[Session] = Decider(category="session", initial=INITIAL, evolve=evolve)


def decide(session: Session, run_id: str, *, ended: bool) -> SessionEvent | None:
    """Return the next event a run calls for in its session, or None when it calls for none.

    Args:
        ended: whether the run has ended: it releases the turn or leaves the queue; if it never requested the turn (it
            was cancelled first), the release makes a later request for it void.
    """
    known = session.holder == run_id or run_id in session.queue or run_id in session.finished
    if ended and run_id not in session.finished:
        return TurnReleased(run_id=run_id)
    if not ended and not known:
        if session.holder or session.queue:
            return TurnQueued(run_id=run_id)
        return TurnTaken(run_id=run_id)
    if not session.holder and session.queue:
        return TurnTaken(run_id=session.queue[0])
    return None


def before(session: Session, run_id: str) -> tuple[str, ...]:
    """Return the runs that had the turn before a run, oldest first."""
    turns = session.turns
    return turns[: turns.index(run_id)] if run_id in turns else turns
