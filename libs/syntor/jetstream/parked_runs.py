"""Says in the log that a message of a run was given up, so that the run fails where people can see it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from syntor.contracts import subjects
from syntor.contracts.errors import ContractError, MalformedMessageError, RevisionConflictError
from syntor.contracts.ids import new_id
from syntor.contracts.request.v1 import MessageParked
from syntor.eventsourcing.store import EventStore, NewEvent
from syntor.jetstream.consumer import OnParked, Parked


def report_to(store: EventStore, source: str, clock: Callable[[], datetime]) -> OnParked:
    """Return what a consumer calls for each message it parked.

    Args:
        source: service that writes, without the prefix `syntor/`.
    """

    async def report(parked: Parked) -> None:
        run_id = _run_of(parked.subject)
        try:
            first = await store.last(subjects.event("run", run_id, "user_input")) if run_id else None
        except ContractError:  # the run itself cannot be read: there is nobody to tell
            return
        if first is None or "message_parked" in parked.subject:  # of no run, or this very report
            return
        event = MessageParked(
            stream=parked.stream,
            position=parked.position,
            subject=parked.subject,
            consumer=parked.consumer,
            cause=parked.cause[:1000],
        )
        new = NewEvent(
            aggregate_id=run_id,
            event=event,
            message_id=new_id(),
            source=source,
            time=clock(),
            version=0,
            run_id=run_id,
            session_id=first.envelope.sessionid,
            correlation_id=first.envelope.correlationid,
            first_position=first.position,
        )
        try:
            await store.append(new, 0)
        except RevisionConflictError:
            return  # said before

    return report


def _run_of(subject: str) -> str:
    """Return the run a message is of; empty: of none, or nobody can tell."""
    try:
        if subject.startswith("syntor.timers."):
            return subjects.parse_timer_due(subject)[0]
        return subjects.parse_event(subject).run_id
    except MalformedMessageError:
        return ""
