"""One event as the HTTP API returns it, decoded into the struct of its schema."""

from __future__ import annotations

from datetime import datetime

import msgspec

from syntor.contracts.decoding import UNDECODABLE
from syntor.contracts.envelope import NO_DATA, Envelope
from syntor.contracts.errors import ContractError
from syntor.contracts.subjects import TASK_CATEGORIES
from syntor.eventsourcing.upcasting import EventReader

UNREADABLE = "unreadable"  # type of a message in the log that is not an envelope

_reader = EventReader()


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event of the log."""

    position: int
    """Stream sequence."""
    type: str
    """Event type; `unreadable` for a message that is not an envelope."""
    subject: str
    """Aggregate: `<category>.<id>`."""
    time: datetime | None
    data: bytes = b""
    """JSON of the event's data; empty: none."""
    body: msgspec.Struct | None = None
    """The event; None when this version does not know its schema."""
    json: bytes = b""
    """The whole event object as the server sent it."""

    @property
    def task_id(self) -> str:
        """Task it belongs to; empty: the run itself."""
        category, _, aggregate_id = self.subject.partition(".")
        return aggregate_id.partition(".")[2] if category in TASK_CATEGORIES else ""


class _Positioned(msgspec.Struct, frozen=True):
    position: int


def decode_event(content: bytes) -> Event:
    """Return the event in an event object; a message that is not an envelope gets the type `unreadable`.

    Raises:
        msgspec.ValidationError: it has no position.
    """
    position = msgspec.json.decode(content, type=_Positioned).position
    try:
        envelope = msgspec.json.decode(content, type=Envelope)
    except UNDECODABLE:
        return Event(position=position, type=UNREADABLE, subject="", time=None, json=content)
    data = b"" if envelope.data is NO_DATA else bytes(envelope.data)
    return Event(
        position=position,
        type=envelope.type,
        subject=envelope.subject,
        time=envelope.time,
        data=data,
        body=_body(envelope),
        json=content,
    )


def _body(envelope: Envelope) -> msgspec.Struct | None:
    try:
        return _reader.read(envelope)
    except ContractError:
        return None  # written by a newer version: shown by its type only
