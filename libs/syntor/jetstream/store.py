"""The event store over the log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import msgspec

from syntor.contracts.envelope import INLINE_LIMIT_BYTES, NO_DATA, Envelope, decode_envelope, encode_envelope
from syntor.contracts.errors import ContractError, StorageFullError
from syntor.contracts.topology import EVENTS
from syntor.eventsourcing.log_hash import LastHashes, hash_of_event
from syntor.eventsourcing.store import NewEvent, RawEvent, Recorded
from syntor.eventsourcing.upcasting import EventReader
from syntor.jetstream.appender import Append, Appender
from syntor.jetstream.blobs import BlobStore
from syntor.jetstream.connection import Connection
from syntor.jetstream.direct_reader import DirectReader


class RecordedReader:
    """Decodes stored messages into recorded events; fetches data stored as a blob."""

    def __init__(
        self, blobs: BlobStore, reader: EventReader | None = None, last_hashes: LastHashes | None = None
    ) -> None:
        """Prepare.

        Args:
            last_hashes: told of each event read of an aggregate with versions; None: no append stands on what is read.
        """
        self._blobs = blobs
        self._reader = reader or EventReader()
        self._last_hashes = last_hashes

    async def hydrate(self, envelope: Envelope) -> Envelope:
        """Return the envelope with its data inline; fetches data stored as a blob."""
        if not envelope.dataref:
            return envelope
        data = await self._blobs.get(envelope.dataref)
        return msgspec.structs.replace(envelope, data=msgspec.Raw(data), dataref="", datasize=0)

    async def read(self, raw: RawEvent) -> Recorded:
        """Decode a stored message.

        Raises:
            ContractError: it is not a message this process can read.
        """
        envelope = decode_envelope(raw.payload)
        if self._last_hashes is not None and envelope.version:
            self._last_hashes.add(envelope.subject, raw.position, raw.subject, raw.payload)
        if envelope.dataref:
            envelope = await self.hydrate(envelope)
        return Recorded(raw.position, raw.subject, envelope, self._reader.read(envelope), raw.traceparent)


class JetStreamStore:
    """`EventStore` over the stream SYNTOR_EVENTS."""

    def __init__(self, connection: Connection, *, group_commit: bool = True) -> None:
        self.connection = connection
        self._blobs = BlobStore(connection)
        self._stored = DirectReader(connection, EVENTS)
        self._appender = Appender(connection, self._stored, group_commit=group_commit)
        self._last_hashes = LastHashes()
        self.recorded = RecordedReader(self._blobs, last_hashes=self._last_hashes)
        """Decoder for messages read by a tail or a consumer."""

    async def start(self) -> None:
        """Do nothing: this adapter needs no set-up."""

    async def close(self) -> None:
        """Wait for a batch of appends in flight."""
        await self._appender.close()

    async def append(self, new: NewEvent, expected_revision: int | None) -> int:
        """Append one event; see `EventStore.append`."""
        if refusal := self.connection.refuses_writes():
            raise StorageFullError(refusal)
        chained = bool(expected_revision) and new.is_chained
        envelope = new.envelope(await self._previous_hash(new, expected_revision) if chained else "")
        if len(envelope.data) > INLINE_LIMIT_BYTES:
            size = len(envelope.data)
            ref = await self._blobs.put(bytes(envelope.data))
            envelope = msgspec.structs.replace(envelope, data=NO_DATA, dataref=ref, datasize=size)
        headers = {"Nats-Msg-Id": new.message_id}
        if new.lineage.traceparent:
            headers["traceparent"] = new.lineage.traceparent
        item = Append(new.subject, encode_envelope(envelope), headers)
        if expected_revision is not None:
            item.expected_filter = new.consistency_boundary
            item.expected_revision = expected_revision
        position = await self._appender.append(item)
        if envelope.version:
            self._last_hashes.add(envelope.subject, position, item.subject, item.payload)
        return position

    async def _previous_hash(self, new: NewEvent, revision: int | None) -> str:
        """Return the hash of the event at the expected revision; read only if this process has not seen it."""
        assert revision is not None
        known = self._last_hashes.find(f"{new.category}.{new.aggregate_id}", revision)
        if known:
            return known
        found = await self._stored.get(revision)
        return hash_of_event(found.position, found.subject, found.payload).hex() if found is not None else ""

    async def load(
        self,
        filter_subject: str,
        after: int = 0,
        up_to: int | None = None,
        wanted: Callable[[str], bool] | None = None,
        *,
        skip_unreadable: bool = False,
    ) -> AsyncIterator[Recorded]:
        """Read stored events; see `EventStore.load`."""
        async for message in self._stored.range(filter_subject, after, up_to):
            if wanted is None or wanted(message.subject):
                try:
                    recorded = await self.recorded.read(message)
                except ContractError:
                    if skip_unreadable:
                        continue
                    raise
                yield recorded

    async def load_raw(self, filter_subject: str, after: int = 0, up_to: int | None = None) -> AsyncIterator[RawEvent]:
        """Read stored messages without decoding them, oldest first."""
        async for message in self._stored.range(filter_subject, after, up_to):
            yield message

    async def last(self, filter_subject: str) -> Recorded | None:
        """Return the last event that matches, or None."""
        message = await self._stored.last(filter_subject)
        return None if message is None else await self.recorded.read(message)

    async def last_of_each(
        self, filter_subjects: list[str], up_to: int | None = None, *, skip_unreadable: bool = False
    ) -> list[Recorded]:
        """Return the last event of each matching subject; see `EventStore.last_of_each`."""
        found: list[Recorded] = []
        for message in await self._stored.last_of_each(filter_subjects, up_to):
            try:
                found.append(await self.recorded.read(message))
            except ContractError:
                if not skip_unreadable:
                    raise
        return found

    async def last_position(self, filter_subject: str) -> int:
        """Return the position of the last message that matches, readable or not; 0: no match."""
        message = await self._stored.last(filter_subject)
        return message.position if message is not None else 0

    async def get_raw(self, position: int) -> RawEvent | None:
        """Return the message at a position without decoding it, or None."""
        return await self._stored.get(position)

    async def everything_raw(self, after: int, up_to: int) -> AsyncIterator[RawEvent]:
        """Read all stored messages without decoding them, also behind what the server cannot read."""
        async for message in self._stored.everything(after, up_to):
            yield message

    async def get(self, position: int) -> Recorded | None:
        """Return the event at a position, or None."""
        message = await self._stored.get(position)
        return None if message is None else await self.recorded.read(message)
