"""The port to the log: what a new event needs, what a stored one has, and who can append and load."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Protocol

import msgspec

from syntor.contracts import subjects
from syntor.contracts.envelope import SPEC_VERSION, Envelope, schema_name
from syntor.contracts.events import CATALOGUE, Event
from syntor.contracts.request.v1 import ApprovalDecision, MessageParked, ToolResult
from syntor.contracts.run.v1 import ApprovalExpired, DelegationRefused, StepSkipped, TaskAssigned

_encoder = msgspec.json.Encoder()


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
    """W3C trace context of whoever wrote it; empty: none."""


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
    run_id: str = ""
    session_id: str = ""
    causation_id: str = ""
    correlation_id: str = ""
    first_position: int = 0
    """Stream sequence of the run's first event, 0: not known."""
    traceparent: str = ""

    @property
    def category(self) -> str:
        """Category of the event."""
        return CATALOGUE.key_of(self.event)[0]

    @property
    def subject(self) -> str:
        """Subject it is stored under."""
        category, type_, _ = CATALOGUE.key_of(self.event)
        return subjects.event(category, self.aggregate_id, type_, _subject_key(self.event))

    @property
    def scope(self) -> str:
        """Filter its version check is about: its aggregate, or, of requests, its subject: requests have no order."""
        category = self.category
        return self.subject if category == "request" else subjects.aggregate(category, self.aggregate_id)

    def envelope(self) -> Envelope:
        """Return the envelope with the encoded event inside."""
        category, type_, version = CATALOGUE.key_of(self.event)
        return Envelope(
            specversion=SPEC_VERSION,
            id=self.message_id,
            source=f"syntor/{self.source}",
            type=type_,
            subject=f"{category}.{self.aggregate_id}",
            time=self.time,
            dataschema=schema_name(category, type_, version),
            version=self.version,
            runid=self.run_id,
            sessionid=self.session_id,
            causationid=self.causation_id,
            correlationid=self.correlation_id,
            firstposition=self.first_position,
            data=msgspec.Raw(_encoder.encode(self.event)),
        )


def _subject_key(event: Event) -> str:
    """Return the last token of the subject of a keyed type; empty for all others."""
    match event:
        case TaskAssigned(queue=queue):
            return queue
        case ApprovalExpired(approval_id=approval_id) | ApprovalDecision(approval_id=approval_id):
            return approval_id
        case DelegationRefused(task_id=task_id) | StepSkipped(task_id=task_id):
            return task_id
        case ToolResult(task_id=task_id, call_id=call_id):
            return f"{task_id}-{call_id}"
        case MessageParked(position=position):
            return str(position)
        case _:
            return ""


class EventStore(Protocol):
    """Appends to and reads from the log. Adapters: `syntor.jetstream.store` and `syntor.testing.memory`."""

    async def append(self, new: NewEvent, expected_revision: int | None) -> int:
        """Append one event and return its position once it is stored.

        Args:
            expected_revision: position of the last event in the event's `scope`, 0 for none; None: no check.

        Raises:
            RevisionConflictError: the aggregate's last position is another.
            StorageFullError: the log refuses more.
            NotReachableError: the server could not be asked in time; nothing was stored, or a retry with the same
                message_id finds it stored.
            OutcomeUnknownError: sent, and whether it was stored could not be found out; retry with the same message_id.
        """
        ...

    def load(
        self,
        filter_subject: str,
        after: int = 0,
        up_to: int | None = None,
        wanted: Callable[[str], bool] | None = None,
    ) -> AsyncIterator[Recorded]:
        """Read stored events that match a subject filter, oldest first, with `after < position <= up_to`.

        Args:
            wanted: asked with each subject; what it does not want is skipped undecoded.
        """
        ...

    async def last(self, filter_subject: str) -> Recorded | None:
        """Return the last event that matches, or None."""
        ...

    async def last_of_each(self, filter_subjects: list[str], up_to: int | None = None) -> list[Recorded]:
        """Return the last event of each subject that matches any filter, oldest first; at most 1,024 subjects."""
        ...

    async def last_position(self, filter_subject: str) -> int:
        """Return the position of the last message that matches, readable or not; 0: none."""
        ...

    async def get(self, position: int) -> Recorded | None:
        """Return the event at a position, or None where there is none."""
        ...
