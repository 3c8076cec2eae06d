"""The envelope of every message in the log: CloudEvents 1.0, structured mode, JSON.

Invariants: a process that only forwards a message never decodes its `data`; within a schema version only optional
fields are added.
"""

from __future__ import annotations

import msgspec

from syntor.contracts.bounds import (
    EARLIEST,
    LATEST,
    Count,
    Hash,
    Id,
    Line,
    Name,
    Position,
    Time,
    TraceParent,
    TraceState,
)
from syntor.contracts.decoding import UNDECODABLE
from syntor.contracts.errors import MalformedMessageError

SPEC_VERSION = "1.0"  # CloudEvents
SCHEMA_PREFIX = "syntor:"  # dataschema is `syntor:<category>/<type>.v<n>`
INLINE_LIMIT_BYTES = 256 * 1024  # larger data goes to the object store and leaves `dataref` here
NO_DATA = msgspec.Raw(b"")  # this very object is left out of the JSON


class Envelope(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One message of the log. Names are CloudEvents attributes and extensions: lower case, no separators."""

    specversion: Name
    """Always "1.0"."""
    id: Id
    """message_id: unique, and the `Nats-Msg-Id` of the message."""
    source: Name
    """Service that wrote it: `syntor/<service>`."""
    type: Name
    """Event type in snake case, as in the last type token of the subject."""
    subject: Line
    """The aggregate it belongs to: `<category>.<id>`, without the stream's prefix."""
    time: Time
    """When it was written, UTC. For a decision: the time of its trigger."""
    dataschema: Name
    """`syntor:<category>/<type>.v<n>`."""
    version: Count = 0
    """Dense number within the aggregate, from 1; 0 where the category is not version checked."""
    runid: Id = ""
    """Run this belongs to, if any."""
    sessionid: Id = ""
    """Session of that run, if any."""
    causationid: Id = ""
    """message_id of the message that caused this one; empty for a first cause."""
    correlationid: Id = ""
    """The request it belongs to: the trace id of the HTTP request that started it."""
    firstposition: Position = 0
    """Stream sequence of the run's first event, once known; where reading its history starts. 0: not known."""
    traceparent: TraceParent = ""
    """Trace context (W3C) of the request that caused it, as its caller sent it: the span a trace of this event has as
    its parent. Of events a request writes itself; empty: the caller sent none."""
    tracestate: TraceState = ""
    """Trace state that came with it."""
    previoushash: Hash = ""
    """Hash of the aggregate's previous event, at the expected revision; empty: it is the first, or none is expected."""
    data: msgspec.Raw = NO_DATA
    """The event itself, JSON of its schema; absent when `dataref` is set."""
    dataref: Name = ""
    """`blob:<sha256>`: where data above 256 KiB is kept (CloudEvents claim check)."""
    datasize: Position = 0
    """Bytes of the data behind `dataref`."""


class Lineage(msgspec.Struct, frozen=True, kw_only=True):
    """Where a message comes from: its run, its session, its cause and its trace."""

    run_id: str = ""
    """Run it belongs to; empty: none."""
    session_id: str = ""
    """Session of that run; empty: none."""
    causation_id: str = ""
    """message_id of its cause; empty for a first cause."""
    correlation_id: str = ""
    """Request it belongs to."""
    first_position: int = 0
    """Stream sequence of the run's first event; 0: not known."""
    traceparent: str = ""
    """W3C trace context of the writer; empty: none."""
    caller: TraceParent = ""
    """W3C trace context of the request that is written down, as its caller sent it; empty: none."""
    caller_state: TraceState = ""
    """W3C trace state of that caller."""


def schema_name(category: str, type_: str, version: int) -> str:
    """Return the dataschema of an event type."""
    return f"{SCHEMA_PREFIX}{category}/{type_}.v{version}"


def parse_schema_name(name: str) -> tuple[str, str, int]:
    """Split a dataschema into category, type and schema version.

    Raises:
        MalformedMessageError: not of the form `syntor:<category>/<type>.v<n>`.
    """
    head, separator, number = name.removeprefix(SCHEMA_PREFIX).rpartition(".v")
    category, slash, type_ = head.partition("/")
    if not (name.startswith(SCHEMA_PREFIX) and separator and slash and type_ and number.isdecimal()):
        raise MalformedMessageError(f"dataschema {name!r}: expected 'syntor:<category>/<type>.v<n>'")
    return category, type_, int(number)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Envelope)


def encode_envelope(envelope: Envelope) -> bytes:
    """Return the JSON of an envelope, on one line."""
    return _encoder.encode(envelope)


def decode_envelope(payload: bytes) -> Envelope:
    """Read an envelope, leaving its data undecoded.

    Raises:
        MalformedMessageError: not JSON, or a required attribute is missing, of the wrong type or out of bounds.
    """
    try:
        envelope = _decoder.decode(payload)
    except UNDECODABLE as exc:
        raise MalformedMessageError(f"not an envelope: {exc}") from exc
    if not EARLIEST <= envelope.time <= LATEST:
        raise MalformedMessageError(f"message {envelope.id}: time {envelope.time} is not of this era")
    return envelope
