"""Measures what waits for a durable consumer: how much, and for how long the oldest has waited."""

from __future__ import annotations

import asyncio
import math
import time

from syntor.contracts.envelope import decode_envelope
from syntor.contracts.errors import ContractError, SyntorError
from syntor.contracts.topology import EVENTS, ConsumerSpec
from syntor.eventsourcing.store import RawEvent
from syntor.jetstream.admin import consumer_info
from syntor.jetstream.connection import Connection
from syntor.jetstream.direct_reader import DirectReader
from syntor.metrics import Gauge

_PENDING = Gauge("syntor_consumer_pending_messages", "Messages of a durable consumer not delivered yet", ("consumer",))
_IN_PROGRESS = Gauge(
    "syntor_consumer_unacknowledged_messages",
    "Messages of a durable consumer delivered and not finished",
    ("consumer",),
)
_OLDEST = Gauge(
    "syntor_consumer_oldest_pending_seconds", "Age of the oldest message not delivered yet; 0: none", ("consumer",)
)
_DEPTH = Gauge("syntor_queue_tasks", "Tasks in the queue of an agent that no instance works on yet", ("queue",))
_AGE = Gauge("syntor_queue_oldest_task_seconds", "Age of the oldest task in the queue of an agent; 0: none", ("queue",))


class Backlog:
    """The backlog of one durable consumer, measured at each scrape."""

    def __init__(self, connection: Connection, spec: ConsumerSpec, queue: str = "") -> None:
        """Prepare.

        Args:
            queue: name of the queue of an agent; empty: the consumer is none.
        """
        self._connection = connection
        self._spec = spec
        self._queue = queue
        self._reader = DirectReader(connection, EVENTS)

    async def measure(self) -> None:
        """Set the gauges; to "not a number" while the server does not answer."""
        pending = in_progress = oldest_s = math.nan
        try:
            info = await consumer_info(self._connection, self._spec)
            pending, in_progress = info.pending, info.ack_pending
            oldest_s = await self._oldest_s(info.delivered) if info.pending else 0.0
        except SyntorError:
            pass
        name = self._spec.name
        _PENDING.labels(name).set(pending)
        _IN_PROGRESS.labels(name).set(in_progress)
        if self._spec.stream == EVENTS:
            _OLDEST.labels(name).set(oldest_s)
        if self._queue:
            _DEPTH.labels(self._queue).set(pending)
            _AGE.labels(self._queue).set(oldest_s)

    async def _oldest_s(self, delivered: int) -> float:
        if self._spec.stream != EVENTS:
            return math.nan
        found = await asyncio.gather(*(self._reader.first(each, delivered) for each in self._spec.filter_subjects))
        waiting = [message for message in found if message is not None]
        return _age_s(min(waiting, key=lambda message: message.position)) if waiting else 0.0


def _age_s(message: RawEvent) -> float:
    try:
        return max(time.time() - decode_envelope(message.payload).time.timestamp(), 0.0)
    except ContractError:
        return math.nan
