"""The port to the log: new events, stored events, and the `EventStore` protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Protocol

import msgspec

from syntor.contracts import subjects
from syntor.contracts.envelope import SPEC_VERSION, Envelope, Lineage, schema_name
from syntor.contracts.events import CATALOGUE, Event
from syntor.eventsourcing.upcasting import EventReader

_encoder = msgspec.json.Encoder()
_reader = EventReader()


class RawEvent(msgspec.Struct, frozen=True):
    """A message as the log holds it, not decoded."""

    position: int
    """Stream sequence."""
    subject: str
    """Subject it was stored under."""
    payload: bytes
    """Its envelope, JSON."""
    recorded_at_ns: int = 0
    """When the stream stored it, nanoseconds since 1970, by the server's clock; 0: not known."""
    traceparent: str = ""
    """W3C trace context of the writer; empty: none."""
    message_id: str = ""
    """`Nats-Msg-Id` it was appended with; empty: none, or not read."""


class Recorded(msgspec.Struct, frozen=True):
    """An event as the log holds it."""

    position: int
    """Stream sequence."""
    subject: str
    """Subject it was stored under."""
    envelope: Envelope
    """Its envelope; `data` is filled in, also for data kept as a blob."""
    event: Event
    """The event, of the newest version of its type."""
    traceparent: str = ""
    """W3C trace context of its writer; empty: none."""

    def lineage(self) -> Lineage:
        """Return the lineage of an event this one causes."""
        envelope = self.envelope
        return Lineage(
            run_id=envelope.runid,
            session_id=envelope.sessionid,
            causation_id=envelope.id,
            correlation_id=envelope.correlationid,
            first_position=envelope.firstposition,
            traceparent=self.traceparent,
        )


class NewEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event to append, with all its envelope needs."""

    aggregate_id: str
    """Id within the event's category; `<run_id>.<task_id>` for task and output events."""
    event: Event
    """The event; its struct tells category, type and version."""
    message_id: str
    """Unique id of this message."""
    source: str
    """Service that writes it, without the prefix `syntor/`."""
    time: datetime
    """Envelope time, UTC."""
    version: int
    """Dense version within the aggregate, from 1; 0 where no version is checked."""
    lineage: Lineage = Lineage()
    """Run, session, cause and trace it belongs to."""

    @property
    def category(self) -> str:
        """Category of the event."""
        return CATALOGUE.row_of(self.event).category

    @property
    def subject(self) -> str:
        """Subject it is stored under."""
        return subjects.of_event(self.event, self.aggregate_id)

    @property
    def consistency_boundary(self) -> str:
        """Filter its expected revision is about; empty for a category without one."""
        return subjects.consistency_boundary(self.event, self.aggregate_id)

    @property
    def is_chained(self) -> bool:
        """Whether it carries the hash of its aggregate's previous event."""
        category = CATALOGUE.category(self.category)
        return category is not None and category.consistency == "aggregate"

    def envelope(self, previous_hash: str = "") -> Envelope:
        """Return the envelope with the encoded event inside.

        Args:
            previous_hash: `hash_of_event` of the event at the expected revision; empty: there is none.

        Raises:
            MalformedMessageError: the event is not of its own schema (a value out of bounds); it must not be stored.
        """
        row, lineage = CATALOGUE.row_of(self.event), self.lineage
        envelope = Envelope(
            specversion=SPEC_VERSION,
            id=self.message_id,
            source=f"syntor/{self.source}",
            type=row.type,
            subject=f"{row.category}.{self.aggregate_id}",
            time=self.time,
            dataschema=schema_name(row.category, row.type, row.version),
            version=self.version,
            runid=lineage.run_id,
            sessionid=lineage.session_id,
            causationid=lineage.causation_id,
            correlationid=lineage.correlation_id,
            firstposition=lineage.first_position,
            traceparent=lineage.caller,
            tracestate=lineage.caller_state,
            previoushash=previous_hash,
            data=msgspec.Raw(_encoder.encode(self.event)),
        )
        _reader.read(envelope)
        return envelope


class EventStore(Protocol):
    """Appends to and reads from the log. Adapters: `syntor.jetstream.store` and `syntor.testing.memory`."""

    async def append(self, new: NewEvent, expected_revision: int | None) -> int:
        """Append one event and return its position after it is stored.

        Args:
            expected_revision: position of the last event in the event's consistency boundary, 0 for none; None: no
                check.

        Raises:
            RevisionConflictError: the aggregate's last position is another.
            StorageFullError: the log refuses more.
            MalformedMessageError: the event is not of its own schema; nothing was stored.
            NotReachableError: the server did not respond in time; nothing was stored, or a retry with the same
                message_id finds it stored.
            OutcomeUnknownError: sent, but whether it was stored is not known; retry with the same message_id.
        """
        ...

    def load(
        self,
        filter_subject: str,
        after: int = 0,
        up_to: int | None = None,
        wanted: Callable[[str], bool] | None = None,
        *,
        skip_unreadable: bool = False,
    ) -> AsyncIterator[Recorded]:
        """Read stored events that match a subject filter, oldest first, with `after < position <= up_to`.

        Args:
            wanted: predicate on the subject; other messages are skipped without decoding.
            skip_unreadable: leave out what cannot be read, instead of raising ContractError.
        """
        ...

    async def last(self, filter_subject: str) -> Recorded | None:
        """Return the last event that matches, or None."""
        ...

    async def last_of_each(
        self, filter_subjects: list[str], up_to: int | None = None, *, skip_unreadable: bool = False
    ) -> list[Recorded]:
        """Return the last event of each subject that matches any filter, oldest first; at most 1,024 subjects.

        Args:
            skip_unreadable: leave out what cannot be read, instead of raising ContractError.
        """
        ...

    async def last_position(self, filter_subject: str) -> int:
        """Return the position of the last message that matches, readable or not; 0: none."""
        ...

    async def get(self, position: int) -> Recorded | None:
        """Return the event at a position, or None where there is none."""
        ...
