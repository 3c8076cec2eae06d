"""Subscribes the read model to the log: an ordered consumer feeds the projection runner; restarted on failure."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from syntor.contracts import subjects
from syntor.contracts.errors import InfrastructureError, LogBehindError
from syntor.contracts.events import TERMINAL_RUN_TYPES
from syntor.contracts.topology import EVENTS
from syntor.eventsourcing.dead_letters import DeadLettered
from syntor.eventsourcing.log_hash import hash_of_event
from syntor.eventsourcing.store import RawEvent, Recorded
from syntor.jetstream.blobs import BlobStore
from syntor.jetstream.connection import Connection
from syntor.jetstream.dead_letters import dead_letter
from syntor.jetstream.store import JetStreamStore, RecordedReader
from syntor.jetstream.tail import Tail
from syntor.projections.projection import Projection
from syntor.projections.runner import ProjectionRunner
from syntor.projections.store import Checkpoint, CheckpointMovedError, DamagedError, ReadModelStore
from syntor.projector.opening import start_over
from syntor.runtime.telemetry import get_logger, message_context

CONSUMER = "projector"
_RETRY_S = 0.5
_LOOK_EVERY_S = 1.0  # for a database that was removed, replaced or damaged while the log is quiet
_BATCH = 1000


class ProjectionSubscription:
    """Keeps one read model up to date with the log."""

    def __init__(self, connection: Connection, log: JetStreamStore, store: ReadModelStore, projection: Projection):
        self._connection = connection
        self._log = log
        self._store = store
        self._logger = get_logger()
        self.runner = ProjectionRunner(projection, store, RecordedReader(BlobStore(connection)).read, self._dead_letter)
        self.failure: str | None = "has not read the log yet"
        """Why the read model does not follow the log now; None: it does."""

    async def run(self) -> None:
        """Apply the log until cancelled; restart after every failure of the server or the database.

        Raises:
            LogBehindError: the log ends before the checkpoint, so the read model holds what the log does not.
        """
        while True:
            tail: Tail | None = None
            try:
                checkpoint = await self.runner.start()
                await self._check_same_log(checkpoint)
                tail = Tail(self._connection, [subjects.ALL_EVENTS], after=checkpoint.position, max_batch=_BATCH)
                await self._follow(tail)
            except LogBehindError as exc:
                self.failure = str(exc)
                raise
            except CheckpointMovedError:
                self._logger.info("checkpoint_moved", position=self.runner.reached)
            except InfrastructureError as exc:
                self.failure = str(exc)
                self._logger.warning("projection_interrupted", error=str(exc))
                if isinstance(exc, DamagedError):
                    await self._start_over(exc)
                await asyncio.sleep(_RETRY_S)
            finally:
                if tail is not None:
                    await tail.close()

    async def _start_over(self, damage: DamagedError) -> None:
        try:
            await start_over(self._store, damage)
        except InfrastructureError as exc:  # tried again when the damage is met again
            self.failure = f"{damage}; {exc}"

    async def _follow(self, tail: Tail) -> None:
        """Apply the log, and look after the database meanwhile."""
        tasks = [asyncio.create_task(self._apply(tail)), asyncio.create_task(self._watch())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self) -> None:
        """Look whether the database still holds what was written to it.

        Raises:
            CheckpointMovedError: it holds less.
            DamagedError: it was found damaged, here or by a query.
        """
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            written = self.runner.checkpoint.position
            found = (await self._store.checkpoint()).position
            if found < written:
                raise CheckpointMovedError(f"checkpoint is {found}, expected {written}")

    async def _check_same_log(self, checkpoint: Checkpoint) -> None:
        """Check that the event at the checkpoint is the one that was read there.

        A log that lost its newest events and was appended to since has others at the same positions.

        Raises:
            LogBehindError: it is another event.
        """
        if not checkpoint.event_hash:
            return
        raw = await self._log.get_raw(checkpoint.position)
        if (
            raw is None
        ):  # it ends before, which the tail notices; or the event cannot be read, which a verification says
            return
        if hash_of_event(raw.position, raw.subject, raw.payload).hex() != checkpoint.event_hash:
            raise LogBehindError(
                f"{EVENTS} has another event at position {checkpoint.position} than was already read from it: it was "
                "restored from an old backup, or lost its newest messages, and was appended to since; restore a newer "
                "one (`syntor backup restore`), or accept this one as it is (`syntor replay`)"
            )

    async def _apply(self, tail: Tail) -> None:
        await tail.ready()
        self.failure = None
        async for batch in tail.batches():
            damage = self.runner.checkpoint.damage
            self._log_ends(await self.runner.apply(batch, batch[-1].position))
            if self.runner.checkpoint.damage != damage:
                self._logger.error("log_damaged", found=self.runner.checkpoint.damage, advice="syntor replay --verify")

    def _log_ends(self, events: Sequence[Recorded]) -> None:
        """Log the end of each run, with its correlation id: the last line of a run's trace."""
        for recorded in events:
            if recorded.envelope.type in TERMINAL_RUN_TYPES:
                with message_context(recorded.envelope):
                    self._logger.info("run_projected", position=recorded.position)

    async def _dead_letter(self, raw: RawEvent, cause: str) -> None:
        self._logger.warning("message_dead_lettered", position=raw.position, cause=cause)
        letter = DeadLettered(stream=EVENTS, consumer=CONSUMER, position=raw.position, subject=raw.subject, cause=cause)
        await dead_letter(self._connection, letter, raw.payload)
