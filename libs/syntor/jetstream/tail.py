"""Reads the log in order from a position: first what is stored, then what comes, without a gap or a duplicate.

An ephemeral consumer without acknowledgements; whenever its deliveries are not dense, or it is lost, a new one starts
behind the last message that was handed out.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec

from syntor.contracts.errors import LogBehindError, NotFoundError, NotReachableError
from syntor.contracts.ids import new_id
from syntor.contracts.topology import EVENTS
from syntor.jetstream.admin import api, stream_state
from syntor.jetstream.connection import Connection, Message
from syntor.jetstream.pulling import Puller, parse_metadata

_INACTIVE_S = 60.0  # the server forgets the consumer of a process that died after this
_RETRY_EVERY_S = 0.1
_NS = 1_000_000_000


class RawMessage(msgspec.Struct, frozen=True):
    """A message of the log, undecoded."""

    position: int
    subject: str
    payload: bytes
    recorded_at_ns: int
    """When the stream stored it, nanoseconds since 1970, by the server's clock."""
    traceparent: str


class Tail:
    """One ordered reader of a stream."""

    def __init__(
        self,
        connection: Connection,
        filter_subjects: list[str],
        *,
        after: int,
        stream: str = EVENTS,
        max_batch: int = 1000,
    ) -> None:
        self._connection = connection
        self._filters = filter_subjects
        self._stream = stream
        self._max_batch = max_batch
        self._position = after
        self._received = after
        self._sequence = 0
        self._buffer: list[RawMessage] = []
        self._puller: Puller | None = None
        self._wake = asyncio.Event()
        self._broken = False
        self._pending = 0
        self._end_when_empty = after

    @property
    def position(self) -> int:
        """Position of the last message handed out, or where reading began."""
        return self._position

    @property
    def caught_up(self) -> bool:
        """Whether nothing that matched was waiting behind the last message handed out."""
        return not self._buffer and self._pending == 0 and self._puller is not None and not self._broken

    @property
    def safe_position(self) -> int:
        """Position up to which everything that matches was handed out: further than `position` when caught up."""
        return max(self._position, self._end_when_empty) if self.caught_up else self._position

    async def batches(self) -> AsyncIterator[list[RawMessage]]:
        """Yield messages in order, as many at once as are there (at most `max_batch`); never ends by itself.

        Raises:
            LogBehindError: the stream ends before the position reading was to continue from.
        """
        while True:
            await self.ready()
            while not self._buffer:
                await self._wake.wait()
                self._wake.clear()
                await self.ready()
            batch, self._buffer = self._buffer[: self._max_batch], self._buffer[self._max_batch :]
            self._position = batch[-1].position
            await self._top_up()
            yield batch

    async def ready(self) -> None:
        """Make sure a consumer is there and asked; waits while the server is away.

        Raises:
            LogBehindError: as `batches`.
        """
        while self._puller is None or self._broken:
            try:
                await self._open()
                return
            except (NotReachableError, NotFoundError):
                if self._connection.closed.done():
                    raise
            await asyncio.sleep(_RETRY_EVERY_S)
            await self._connection.wait_connected(30.0)
        await self._top_up()

    async def close(self) -> None:
        """Stop reading."""
        if self._puller is not None:
            await self._puller.stop()
            self._puller = None

    async def _open(self) -> None:
        if self._puller is not None:
            await self._puller.stop()
            self._puller = None
        last = (await stream_state(self._connection, self._stream)).last
        after = self._buffer[-1].position if self._buffer else self._position
        if after > last:
            raise LogBehindError(
                f"{self._stream} ends at position {last}, but {after} was already read from it: it was restored from "
                "an old copy, or lost its newest messages"
            )
        name = f"tail-{new_id()}"
        config = {
            "name": name,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": after + 1,
            "ack_policy": "none",
            "filter_subjects": self._filters,
            "replay_policy": "instant",
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": int(_INACTIVE_S * _NS),
        }
        body = {"stream_name": self._stream, "config": config, "action": "create"}
        created = await api(self._connection, f"CONSUMER.CREATE.{self._stream}.{name}", body)
        self._received, self._sequence, self._broken = after, 0, False
        self._pending = created["num_pending"]
        self._end_when_empty = max(last, after) if self._pending == 0 else after
        self._puller = Puller(self._connection, self._stream, name, self._on_message, self._on_lost)
        await self._puller.start()
        await self._top_up()

    async def _top_up(self) -> None:
        puller = self._puller
        if puller is None or self._broken:
            return
        if puller.outstanding <= self._max_batch // 2 and len(self._buffer) <= self._max_batch:
            try:
                await puller.ask(self._max_batch)
            except NotReachableError:
                self._on_lost(True)

    def _on_message(self, message: Message) -> None:
        if self._broken:
            return
        meta = parse_metadata(message.reply)
        if meta.consumer_sequence != self._sequence + 1:
            self._on_lost(True)
            return
        self._sequence = meta.consumer_sequence
        self._pending = meta.pending
        self._received = meta.position
        self._end_when_empty = meta.position
        traceparent = message.headers.get("traceparent", "") if message.headers else ""
        self._buffer.append(RawMessage(meta.position, message.subject, message.payload, meta.timestamp_ns, traceparent))
        self._wake.set()

    def _on_lost(self, gone: bool) -> None:
        """Ask again; a consumer that may have missed something or is gone is replaced."""
        if gone or not self._connection.is_connected:
            self._broken = True
        self._wake.set()
