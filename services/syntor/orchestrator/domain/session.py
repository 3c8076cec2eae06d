"""Whose turn it is in a session: pure. Runs of a session work one at a time, in the order they asked.

A session is folded from its own events. Two questions are asked of it, each until it answers None: `decide_turn` for a
run that wants to work or has ended, and (by the same function) who is next after a release.
"""

from __future__ import annotations

import msgspec

from syntor.contracts.events import Event
from syntor.contracts.session.v1 import SessionEvent, TurnQueued, TurnReleased, TurnTaken


class Session(msgspec.Struct, frozen=True):
    """State of one session."""

    holder: str = ""
    """Run that has the turn; empty: nobody."""
    queue: tuple[str, ...] = ()
    """Runs that wait, in order."""
    turns: tuple[str, ...] = ()
    """Runs that had or have the turn, oldest first, at most the newest `KEPT_TURNS`."""
    finished: frozenset[str] = frozenset()
    """Runs of `turns` that released it, and runs that left the queue."""


KEPT_TURNS = 200  # more than an agent's history needs; bounds the state of a long session
INITIAL = Session()


def evolve(session: Session, event: Event) -> Session:
    """Apply one fact."""
    replace = msgspec.structs.replace
    match event:
        case TurnQueued(run_id=run_id):
            return replace(session, queue=(*session.queue, run_id))
        case TurnTaken(run_id=run_id):
            queue = tuple(waiting for waiting in session.queue if waiting != run_id)
            turns = (*session.turns, run_id)[-KEPT_TURNS:]
            finished = (
                session.finished & frozenset(turns) if len(session.finished) > 2 * KEPT_TURNS else session.finished
            )
            return replace(session, holder=run_id, queue=queue, turns=turns, finished=finished)
        case TurnReleased(run_id=run_id):
            queue = tuple(waiting for waiting in session.queue if waiting != run_id)
            holder = "" if session.holder == run_id else session.holder
            return replace(session, holder=holder, queue=queue, finished=session.finished | {run_id})
        case _:
            return session


def decide(session: Session, run_id: str, *, ended: bool) -> SessionEvent | None:
    """Return the next event a run calls for in its session, or None when there is nothing to do.

    Args:
        ended: whether the run has ended: it gives the turn back, or leaves the queue.
    """
    if ended:
        if run_id not in session.finished and (session.holder == run_id or run_id in session.queue):
            return TurnReleased(run_id=run_id)
    elif session.holder != run_id and run_id not in session.queue and run_id not in session.finished:
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
