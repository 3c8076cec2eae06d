"""Timers kept by the server: one message schedule (ADR-51) per run and name, which fires into the timers stream.

Setting a timer again replaces it, so setting it on every delivery of its trigger is safe.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from syntor.contracts import subjects
from syntor.contracts.decoding import UNDECODABLE
from syntor.contracts.envelope import Lineage, encode_envelope
from syntor.contracts.errors import InfrastructureError
from syntor.contracts.ids import new_id
from syntor.contracts.timer.v1 import TimerFired
from syntor.contracts.topology import TIMERS
from syntor.eventsourcing.store import NewEvent
from syntor.jetstream.admin import api
from syntor.jetstream.appender import PubAck
from syntor.jetstream.connection import Connection
from syntor.jetstream.errors import fault_to_error


class Timers:
    """Sets and cancels timers of runs."""

    def __init__(self, connection: Connection, source: str) -> None:
        self._connection = connection
        self._source = source

    async def set(
        self,
        run_id: str,
        name: str,
        at: datetime,
        event: TimerFired,
        lineage: Lineage,
    ) -> None:
        """Set a timer; one in the past fires immediately.

        Raises:
            InfrastructureError: the schedule could not be stored.
        """
        new = NewEvent(
            aggregate_id=f"{run_id}.{name}",
            event=event,
            message_id=new_id(),
            source=self._source,
            time=at,
            version=0,
            lineage=lineage,
        )
        headers = {
            "Nats-Schedule": f"@at {at.astimezone(UTC).strftime('%Y-%m-%dT%H:%M:%S.%fZ')}",
            "Nats-Schedule-Target": subjects.timer_fired(run_id, name),
        }
        if lineage.traceparent:
            headers["traceparent"] = lineage.traceparent
        subject = subjects.timer_schedule(run_id, name)
        reply = await self._connection.request(subject, encode_envelope(new.envelope()), headers=headers)
        try:
            fault = msgspec.json.decode(reply.payload, type=PubAck).error
        except UNDECODABLE as exc:
            raise InfrastructureError(f"setting timer {subject}: unreadable response") from exc
        if fault is not None:
            raise fault_to_error(f"setting timer {subject}", fault)

    async def cancel(self, run_id: str, name: str) -> None:
        """Cancel a timer that has not fired; a timer that has fired, or does not exist, is not an error.

        Raises:
            InfrastructureError: the server did not respond in time.
        """
        await api(self._connection, f"STREAM.PURGE.{TIMERS}", {"filter": subjects.timer_schedule(run_id, name)})

    async def cancel_all(self, run_id: str) -> None:
        """Cancel every timer of a run that has not fired, also those another process set; errors as `cancel`."""
        await api(self._connection, f"STREAM.PURGE.{TIMERS}", {"filter": subjects.timer_schedule(run_id, "*")})
