"""Records in a run's log that one of its messages was dead-lettered, so that the run fails with the cause.

The message itself is kept by the adapter (`syntor.jetstream.dead_letters`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

import msgspec

from syntor.contracts import subjects
from syntor.contracts.envelope import Lineage
from syntor.contracts.errors import ContractError, MalformedMessageError, RevisionConflictError
from syntor.contracts.ids import new_id
from syntor.contracts.request.v1 import MessageDeadLettered
from syntor.contracts.run.v1 import UserInput
from syntor.eventsourcing.store import EventStore, NewEvent

MAX_CAUSE = 1000  # characters of a cause kept in the event


class DeadLettered(msgspec.Struct, frozen=True, kw_only=True):
    """A message that a consumer dead-lettered."""

    stream: str
    """Stream that holds the message."""
    consumer: str
    """Durable consumer, or service, that dead-lettered it."""
    position: int
    """Its stream sequence."""
    subject: str
    """Subject it was stored under."""
    cause: str
    """Text of the error that the last attempt to handle it ended with."""


OnDeadLettered = Callable[[DeadLettered], Awaitable[None]]
"""Called once a message is in the dead letters, before the server is told to deliver it no more."""


def record_in_run(store: EventStore, source: str, clock: Callable[[], datetime]) -> OnDeadLettered:
    """Return a callback that appends the event for a dead-lettered message to the run it belongs to.

    The callback does nothing for a message of no run, and nothing for a message that is recorded already. It raises
    InfrastructureError when the event cannot be stored.

    Args:
        source: service that writes, without the prefix `syntor/`.
    """

    async def record(letter: DeadLettered) -> None:
        run_id = _run_of(letter.subject)
        try:
            first = await store.last(subjects.of_type(UserInput, run_id)) if run_id else None
        except ContractError:  # the run's first event is unreadable: its session and correlation id are unknown
            return
        if first is None:
            return
        event = MessageDeadLettered(
            stream=letter.stream,
            position=letter.position,
            subject=letter.subject,
            consumer=letter.consumer,
            cause=letter.cause[:MAX_CAUSE],
        )
        new = NewEvent(
            aggregate_id=run_id,
            event=event,
            message_id=new_id(),
            source=source,
            time=clock(),
            version=0,
            lineage=Lineage(
                run_id=run_id,
                session_id=first.envelope.sessionid,
                correlation_id=first.envelope.correlationid,
                first_position=first.position,
            ),
        )
        try:
            await store.append(new, 0)
        except RevisionConflictError:  # another consumer, or an earlier delivery, recorded it
            return

    return record


def _run_of(subject: str) -> str:
    """Return the run a message belongs to; empty: none, or the message is itself the record of a dead letter."""
    try:
        if subject.startswith("syntor.timers."):
            return subjects.parse_timer_fired(subject)[0]
        address = subjects.parse_event(subject)
    except MalformedMessageError:
        return ""
    return "" if address.type == "message_dead_lettered" else address.run_id
