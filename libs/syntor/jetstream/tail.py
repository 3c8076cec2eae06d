"""Ordered consumer: reads a stream from a position, first the backlog, then live, without a gap or a duplicate.

An ephemeral pull consumer without acknowledgements. When its delivery sequence has a gap, or the consumer is lost, a
new one is created that starts after the last message received.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
from collections.abc import AsyncGenerator

from syntor.contracts.errors import InfrastructureError, LogBehindError, NotFoundError, NotReachableError
from syntor.contracts.ids import new_id
from syntor.contracts.topology import EVENTS
from syntor.eventsourcing.store import RawEvent
from syntor.jetstream.admin import api, stream_state
from syntor.jetstream.connection import Connection, Message
from syntor.jetstream.puller import Puller, parse_metadata

_INACTIVE_S = 60.0  # the server deletes the consumer of a dead process after this
_RETRY_S = (0.05, 1.0)  # first and longest delay between attempts to create a consumer, jittered
_NS = 1_000_000_000


class Tail:
    """An ordered consumer of one stream: catch-up, then live."""

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
        self._buffer: list[RawEvent] = []
        self._puller: Puller | None = None
        self._consumer = ""
        self._sequence: int = 0  # consumer sequence of the last delivery; a gap means a lost message
        self._pending = 0
        self._empty_up_to = 0  # end of the stream when the consumer was created with nothing pending
        self._wake = asyncio.Event()
        self._stopping: asyncio.Future[None] | None = None
        connection.closed.add_done_callback(self._on_closed)

    @property
    def position(self) -> int:
        """Position of the last message yielded, or the start position."""
        return self._position

    @property
    def caught_up(self) -> bool:
        """Whether no matching message was pending after the last one yielded."""
        return not self._buffer and self._pending == 0 and self._puller is not None

    @property
    def safe_position(self) -> int:
        """Position up to which all matching messages were yielded; beyond `position` when caught up."""
        return max(self._position, self._empty_up_to) if self.caught_up else self._position

    async def batches(self) -> AsyncGenerator[list[RawEvent], None]:
        """Yield messages in order, in batches of up to `max_batch` as they are available; never ends.

        Raises:
            LogBehindError: the stream ends before the position to continue from.
            InfrastructureError: the connection was closed.
        """
        while True:
            await self.ready()
            while not self._buffer:
                await self._wake.wait()
                self._wake.clear()
                await self.ready()
            batch, self._buffer = self._buffer[: self._max_batch], self._buffer[self._max_batch :]
            self._position = batch[-1].position
            self._top_up()
            yield batch

    async def ready(self) -> None:
        """Ensure that a consumer exists and messages are requested; wait while the server is unavailable.

        Raises:
            LogBehindError: as `batches`.
            InfrastructureError: as `batches`.
        """
        delay_s = _RETRY_S[0]
        while self._puller is None or self._connection.closed.done():
            if self._connection.closed.done():
                raise NotReachableError(f"the connection to NATS at {self._connection.url} is closed")
            try:
                await self._open()
            except (NotReachableError, NotFoundError):
                await self._connection.wait_connected(30.0)
                await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))
                delay_s = min(delay_s * 2, _RETRY_S[1])
        self._top_up()

    async def close(self) -> None:
        """Stop reading, and delete the consumer."""
        self._connection.closed.remove_done_callback(self._on_closed)
        puller, self._puller = self._puller, None
        if puller is not None:
            await puller.stop()
        await self._delete_consumer()

    async def _open(self) -> None:
        """Create a consumer that starts after the last message received."""
        await self._delete_consumer()
        last = (await stream_state(self._connection, self._stream)).last
        after = self._buffer[-1].position if self._buffer else self._position
        if after > last:
            raise LogBehindError(
                f"{self._stream} ends at position {last}, but {after} was already read from it: it was restored from "
                "an old backup, or lost its newest messages; restore a newer one (`syntor backup restore`), or accept "
                "this one as it is (`syntor replay`)"
            )
        name = f"tail-{new_id()}"
        config = {
            "name": name,
            "description": self._connection.name,
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
        self._consumer = name
        created = await api(self._connection, f"CONSUMER.CREATE.{self._stream}.{name}", body)
        self._sequence = 0
        self._pending = int(created["num_pending"])
        self._empty_up_to = last if self._pending == 0 else 0
        puller = Puller(
            self._connection,
            self._stream,
            name,
            on_message=functools.partial(self._on_message, name),
            on_ended=self._wake.set,
            on_lost=functools.partial(self._on_lost, name),
        )
        puller.start()
        self._puller = puller

    async def _delete_consumer(self) -> None:
        """Delete the current consumer; without this the server does so after `_INACTIVE_S`."""
        name, self._consumer = self._consumer, ""
        if name and self._connection.is_connected:
            with contextlib.suppress(InfrastructureError, NotFoundError):
                await api(self._connection, f"CONSUMER.DELETE.{self._stream}.{name}")

    def _on_closed(self, _: object) -> None:
        self._wake.set()

    def _top_up(self) -> None:
        puller = self._puller
        if puller and puller.outstanding <= self._max_batch // 2 and len(self._buffer) <= self._max_batch:
            puller.fetch(self._max_batch)

    def _on_message(self, consumer: str, message: Message) -> None:
        if self._puller is None or consumer != self._consumer:
            return  # delivered by an earlier consumer
        meta = parse_metadata(message.reply)
        if meta.consumer_sequence != self._sequence + 1:
            self._on_lost(consumer)
            return
        self._sequence = meta.consumer_sequence
        self._pending = meta.pending
        headers = message.headers or {}
        raw = RawEvent(
            meta.position,
            message.subject,
            message.payload,
            meta.timestamp_ns,
            headers.get("traceparent", ""),
            headers.get("Nats-Msg-Id", ""),
        )
        self._buffer.append(raw)
        self._wake.set()

    def _on_lost(self, consumer: str) -> None:
        """Discard the consumer: a delivery may be lost, and only the next one would show the gap."""
        if self._puller is not None and consumer == self._consumer:
            self._stopping = asyncio.ensure_future(self._puller.stop())
            self._puller = None
            self._wake.set()
