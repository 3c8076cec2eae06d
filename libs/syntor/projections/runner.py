"""Keeps a read model up to date with the log: decodes batches, applies them, writes rows and checkpoint together.

An event that cannot be decoded, applied or written is dead-lettered, and those after it are applied as if it had no
effect: its run's row says that an event is missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from syntor.contracts.errors import ContractError, InfrastructureError, NotReachableError
from syntor.eventsourcing.log_hash import hash_of_event
from syntor.eventsourcing.log_watch import LogWatch
from syntor.eventsourcing.store import RawEvent, Recorded
from syntor.metrics import Counter, Gauge, Histogram
from syntor.projections.projection import Projection, Rows, apply_batch, keys_of
from syntor.projections.store import Checkpoint, ReadModelStore

_APPLIED = Counter("syntor_projection_events_total", "Events applied to the read model", ("projection",))
_SECONDS = Histogram("syntor_projection_batch_seconds", "Time to apply and commit a batch", ("projection",))
_POSITION = Gauge(
    "syntor_projection_position", "Checkpoint: stream sequence of the last event applied", ("projection",)
)

_LOOK_EVERY_S = 0.05  # while there are waiters: another process on the same database moves the checkpoint as well

Decode = Callable[[RawEvent], Awaitable[Recorded]]
"""Decodes a message; raises ContractError for one it cannot read."""
Read = Sequence[tuple[RawEvent, Recorded]]
"""Messages with the events they hold."""
DeadLetter = Callable[[RawEvent, str], Awaitable[None]]
"""Stores a message that could not be decoded, applied or written in the dead letters, with the cause."""


class ProjectionRunner:
    """Applies one projection to the batches its caller reads from the log."""

    def __init__(self, projection: Projection, store: ReadModelStore, decode: Decode, dead_letter: DeadLetter) -> None:
        self._projection = projection
        self._store = store
        self._decode = decode
        self._dead_letter = dead_letter
        self._moved = asyncio.Condition()
        self._looked_at = 0.0
        self._watch = LogWatch()
        self._batch: Sequence[RawEvent] = ()
        """In progress."""
        self.checkpoint = Checkpoint()
        """What this process committed, or found at its start."""
        self.reached = 0
        """Stream sequence up to which events are in the rows, as far as is known here; any process applied them."""

    async def start(self) -> Checkpoint:
        """Return the checkpoint, after which the caller continues to read."""
        found = self.checkpoint = await self._store.checkpoint()
        self._watch = LogWatch(found.position, found.log_hash, found.damage)
        await self._reach(found.position)
        return found

    async def apply(self, batch: Sequence[RawEvent], reached: int) -> list[Recorded]:
        """Apply a batch and move the checkpoint; return the events that could be decoded.

        Args:
            batch: messages after the checkpoint, in order; may be empty.
            reached: position up to which the log was read, that of the last message; the new checkpoint.

        Raises:
            CheckpointMovedError: another process applied events: call `start` and read from there.
            InfrastructureError: the database or the dead letters could not be written.
        """
        began = time.perf_counter()
        self._watch.see(batch)
        self._batch = batch
        read = [(raw, event) for raw in batch if (event := await self._read(raw)) is not None]
        try:
            await self._write(read, reached)
        except InfrastructureError:
            raise
        except Exception:  # noqa: BLE001 - which event it was shows when they are written one by one
            await self._write_singly(read, reached)
        name = self._projection.name
        _APPLIED.labels(name).inc(len(read))
        _SECONDS.labels(name).observe(time.perf_counter() - began)
        return [event for _, event in read]

    async def _write(self, read: Read, reached: int) -> None:
        """Apply events, dead-letter those that cannot be applied, and commit rows and checkpoint."""
        events = [event for _, event in read]
        rows = Rows(await self._store.load(keys_of(self._projection, events)) if events else {})
        failed = {each.recorded.position: each.cause for each in apply_batch(self._projection, rows, events)}
        for raw, event in read:
            if event.position in failed:
                await self._dead_letter(raw, failed[event.position])
        await self._commit(rows, reached)

    async def _write_singly(self, read: Read, reached: int) -> None:
        """Write each event on its own; one that the database refuses is dead-lettered and marked in its row."""
        for raw, event in read:
            try:
                await self._write([(raw, event)], event.position)
            except InfrastructureError:
                raise
            except Exception as exc:  # noqa: BLE001 - one event must not keep the rows from all later ones
                await self._dead_letter(raw, f"{type(exc).__name__}: {exc}")
                rows = Rows(await self._store.load(keys_of(self._projection, [event])))
                self._projection.mark_not_applied(rows, event)
                await self._commit(rows, event.position)
        await self._commit(Rows(), reached)

    async def _commit(self, rows: Rows, reached: int) -> None:
        checkpoint = self._checkpoint_at(reached)
        await self._store.commit(self.checkpoint.position, checkpoint, rows.changed)
        self.checkpoint = checkpoint
        await self._reach(reached)

    def _checkpoint_at(self, position: int) -> Checkpoint:
        raw = next((raw for raw in reversed(self._batch) if raw.position == position), None)
        if raw is None:  # an empty batch
            return msgspec.structs.replace(self.checkpoint, position=position)
        event_hash = hash_of_event(raw.position, raw.subject, raw.payload).hex()
        return Checkpoint(position, self._watch.log_hash(position), event_hash, self._watch.damage)

    async def _reach(self, position: int) -> None:
        """Wake those who wait for a position the rows have reached."""
        _POSITION.labels(self._projection.name).set(position)
        async with self._moved:
            self.reached = position
            self._moved.notify_all()

    async def wait_for(self, position: int, timeout_s: float) -> None:
        """Wait until the rows have reached a position, by this process or another one on the same database.

        Raises:
            NotReachableError: they have not in time.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while position > self.reached:
                    if not await self._moves_to(position):
                        await self._look()
        except TimeoutError as exc:
            raise NotReachableError(
                f"the read model is at position {self.reached}, the request needs {position}; try again"
            ) from exc

    async def _moves_to(self, position: int) -> bool:
        """Wait for this process to reach a position, until it is time to look for others; return whether it did."""
        try:
            async with asyncio.timeout(_LOOK_EVERY_S), self._moved:
                return await self._moved.wait_for(lambda: position <= self.reached)
        except TimeoutError:
            return False

    async def _look(self) -> None:
        """Read the checkpoint from the database: once for all who wait."""
        now = time.monotonic()
        if now - self._looked_at < _LOOK_EVERY_S:
            return
        self._looked_at = now
        with contextlib.suppress(InfrastructureError):  # they wait on
            found = (await self._store.checkpoint()).position
            if found > self.reached:  # own commits may be newer than what was read
                await self._reach(found)

    async def _read(self, raw: RawEvent) -> Recorded | None:
        if not self._projection.handles(raw.subject):
            return None
        try:
            return await self._decode(raw)
        except InfrastructureError:
            raise
        except Exception as exc:  # noqa: BLE001 - as above
            await self._dead_letter(raw, str(exc) if isinstance(exc, ContractError) else f"{type(exc).__name__}: {exc}")
            return None
