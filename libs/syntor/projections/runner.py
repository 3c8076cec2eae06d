"""Keeps a read model up with the log: reads in batches, folds, writes rows and checkpoint together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from syntor.contracts.errors import ContractError, NotReachableError
from syntor.eventsourcing.store import Recorded
from syntor.metrics import Counter, Gauge, Histogram
from syntor.projections.projection import Projection, Rows, apply_batch
from syntor.projections.store import ReadModelStore

_APPLIED = Counter("syntor_projection_events_total", "Events applied", ("projection",))
_SECONDS = Histogram("syntor_projection_batch_seconds", "Time to apply a batch", ("projection",))
_POSITION = Gauge("syntor_projection_position", "Stream sequence reached", ("projection",))


class Undecoded(msgspec.Struct, frozen=True):
    """A message as it came from the log."""

    position: int
    subject: str
    payload: bytes
    traceparent: str


Decode = Callable[[Undecoded], Awaitable[Recorded]]
Park = Callable[[Undecoded, str], Awaitable[None]]


class Runner:
    """Applies a projection; whoever reads the log hands it batches."""

    def __init__(self, projection: Projection, store: ReadModelStore, decode: Decode, park: Park) -> None:
        self._projection = projection
        self._store = store
        self._decode = decode
        self._park = park
        self._moved = asyncio.Condition()
        self.position = 0
        """Stream sequence the rows stand at."""

    async def start(self) -> int:
        """Return the position to read from."""
        self.position = await self._store.checkpoint()
        return self.position

    async def apply(self, batch: Sequence[Undecoded], reached: int) -> list[Recorded]:
        """Apply a batch and move the checkpoint; return the events that were applied.

        Args:
            batch: messages behind `position`, in order; may be empty.
            reached: position everything up to which was read.

        Raises:
            CheckpointMovedError: another process applied events: call `start` and read from there.
            InfrastructureError: the database or the dead letters could not be written.
        """
        began = time.perf_counter()
        events = [event for message in batch if (event := await self._read(message)) is not None]
        keys = [key for event in events for key in self._projection.keys(event)]
        rows = Rows(await self._store.load(keys) if keys else {})
        apply_batch(self._projection, rows, events)
        await self._store.commit(self.position, reached, rows.changed)
        name = self._projection.name
        _APPLIED.labels(name).inc(len(events))
        _SECONDS.labels(name).observe(time.perf_counter() - began)
        _POSITION.labels(name).set(reached)
        async with self._moved:
            self.position = reached
            self._moved.notify_all()
        return events

    async def wait_for(self, position: int, timeout_s: float) -> None:
        """Wait until a position is in the read model.

        Raises:
            NotReachableError: it is not in time.
        """
        if position <= self.position:
            return
        try:
            async with asyncio.timeout(timeout_s), self._moved:
                await self._moved.wait_for(lambda: position <= self.position)
        except TimeoutError as exc:
            raise NotReachableError(
                f"the read model is at position {self.position}, {position} was asked for; try again"
            ) from exc

    async def _read(self, message: Undecoded) -> Recorded | None:
        if not self._projection.concerns(message.subject):
            return None
        try:
            return await self._decode(message)
        except ContractError as exc:
            await self._park(message, str(exc))
            return None
