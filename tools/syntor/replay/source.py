"""Where events to replay come from: the log of a NATS server, or a file of event objects."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import msgspec

from syntor.contracts import subjects
from syntor.contracts.decoding import UNDECODABLE
from syntor.contracts.envelope import Envelope, decode_envelope, parse_schema_name
from syntor.contracts.errors import ContractError, InvalidInputError, MalformedMessageError
from syntor.contracts.topology import EVENTS
from syntor.eventsourcing.store import RawEvent, Recorded
from syntor.eventsourcing.upcasting import EventReader
from syntor.jetstream.access import NO_CREDENTIALS, Access
from syntor.jetstream.admin import stream_state
from syntor.jetstream.blobs import BlobStore
from syntor.jetstream.connection import Connection, connect
from syntor.jetstream.store import JetStreamStore, RecordedReader
from syntor.jetstream.tail import Tail

_STALLED_S = 3.0  # without a message though there are more: the consumer waits for one the server cannot read
_BATCH = 500

Batch = list[Recorded]


class Source(Protocol):
    """Events in order."""

    last: int
    """Position of the last event there is."""

    def batches(self, after: int, up_to: int) -> AsyncGenerator[tuple[Batch, int], None]:
        """Yield events with `after < position <= up_to`, and with each batch the position it reaches."""
        ...


class LogSource:
    """The stream of a server. Messages that cannot be read are counted and skipped, as the projector does."""

    def __init__(self, connection: Connection, store: JetStreamStore, last: int) -> None:
        self.store = store
        self.recorded = RecordedReader(BlobStore(connection))
        """Decoder; nothing is appended here, so it keeps no hashes."""
        self._connection = connection
        self.last = last
        self.unreadable = 0

    async def newest(self) -> int:
        """Return the position of the last event by now."""
        return (await stream_state(self._connection, EVENTS)).last

    async def batches(self, after: int, up_to: int) -> AsyncGenerator[tuple[Batch, int], None]:
        """Yield events; see `Source.batches`."""
        async for raw_batch in self.raw_batches(after, up_to):
            batch: Batch = []
            for raw in raw_batch:
                try:
                    batch.append(await self.recorded.read(raw))
                except ContractError:
                    self.unreadable += 1
            yield batch, raw_batch[-1].position

    async def raw_batches(self, after: int, up_to: int) -> AsyncGenerator[list[RawEvent], None]:
        """Yield messages with `after < position <= up_to`, not decoded, in batches that are not empty.

        What the server cannot read is left out: where an ordered consumer gets no further, single reads do.
        """
        if after >= up_to:
            return
        tail = Tail(self._connection, [subjects.ALL_EVENTS], after=after)
        try:
            batches = tail.batches()
            while after < up_to:
                try:
                    raw_batch = await asyncio.wait_for(anext(batches), _STALLED_S)
                except TimeoutError:
                    break
                after = raw_batch[-1].position
                if wanted := [raw for raw in raw_batch if raw.position <= up_to]:
                    yield wanted
        finally:
            await tail.close()
        rest: list[RawEvent] = []
        async for raw in self.store.everything_raw(after, up_to):
            rest.append(raw)
            if len(rest) == _BATCH:
                yield rest
                rest = []
        if rest:
            yield rest


class FileSource:
    """Lines of event objects, as `syntor runs export` prints them."""

    def __init__(self, events: Batch) -> None:
        self._events = events
        self.last = events[-1].position if events else 0

    async def batches(self, after: int, up_to: int) -> AsyncGenerator[tuple[Batch, int], None]:
        """Yield events; see `Source.batches`."""
        batch = [event for event in self._events if after < event.position <= up_to]
        if batch:
            yield batch, batch[-1].position


@asynccontextmanager
async def open_log(nats_url: str, access: Access = NO_CREDENTIALS) -> AsyncGenerator[LogSource, None]:
    """Connect to the log of a server.

    Raises:
        NotReachableError: the server does not answer.
    """
    connection = await connect(nats_url, "syntor/replay", access=access)
    try:
        last = (await stream_state(connection, EVENTS)).last
        yield LogSource(connection, JetStreamStore(connection, group_commit=False), last)
    finally:
        await connection.close()


class _Line(msgspec.Struct):
    position: int


def read_file(path: str) -> FileSource:
    """Read a file of event objects; `-` is standard input.

    Raises:
        InvalidInputError: a line is no event object; names file, line and reason.
    """
    name = "standard input" if path == "-" else path
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as exc:
        raise InvalidInputError(f"{name}: {exc.strerror}", field="--from") from exc
    reader = EventReader()
    events: Batch = []
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        try:
            position = msgspec.json.decode(line, type=_Line).position
            envelope = decode_envelope(line)
            events.append(_recorded(position, envelope, reader))
        except (*UNDECODABLE, ContractError) as exc:
            raise InvalidInputError(f"{name}, line {number}: {exc}", field="--from") from exc
    return FileSource(sorted(events, key=lambda event: event.position))


def _recorded(position: int, envelope: Envelope, reader: EventReader) -> Recorded:
    """Return an event as the log held it; its subject follows from the event table."""
    category, _, _ = parse_schema_name(envelope.dataschema)
    name, dot, aggregate_id = envelope.subject.partition(".")
    if not dot or name != category:
        raise MalformedMessageError(f"subject {envelope.subject!r} is not of the category {category}")
    event = reader.read(envelope)
    return Recorded(position, subjects.of_event(event, aggregate_id), envelope, event)
