"""Follows the log and keeps the read model up with it, whatever happens to server, database or checkpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from syntor.contracts import subjects
from syntor.contracts.errors import InfrastructureError, LogBehindError
from syntor.contracts.events import TERMINAL_RUN_TYPES
from syntor.contracts.topology import EVENTS
from syntor.eventsourcing.store import Recorded
from syntor.jetstream.connection import Connection
from syntor.jetstream.dead_letters import park
from syntor.jetstream.store import JetStreamStore
from syntor.jetstream.tail import Tail
from syntor.projections.projection import Projection
from syntor.projections.runner import Runner, Undecoded
from syntor.projections.store import CheckpointMovedError, ReadModelStore
from syntor.runtime.telemetry import get_logger, message_context

CONSUMER = "projector"
_RETRY_S = 0.5
_BATCH = 1000


class Follower:
    """One process's copy of the work."""

    def __init__(self, connection: Connection, log: JetStreamStore, store: ReadModelStore, projection: Projection):
        self._connection = connection
        self._log = log
        self._logger = get_logger()
        self.runner = Runner(projection, store, self._decode, self._park)
        self.trouble: str | None = "has not read the log yet"
        """What keeps the read model from following; None: nothing."""

    async def run(self) -> None:
        """Follow until cancelled; raises LogBehindError rather than carry on with a log that lost its end."""
        while True:
            tail: Tail | None = None
            try:
                position = await self.runner.start()
                tail = Tail(self._connection, [subjects.ALL_EVENTS], after=position, max_batch=_BATCH)
                await self._follow(tail)
            except LogBehindError as exc:
                self.trouble = str(exc)
                raise
            except CheckpointMovedError:
                self._logger.info("checkpoint_moved", position=self.runner.position)
            except InfrastructureError as exc:
                self.trouble = str(exc)
                self._logger.warning("projection_interrupted", error=str(exc))
                await asyncio.sleep(_RETRY_S)
            finally:
                if tail is not None:
                    await tail.close()

    async def _follow(self, tail: Tail) -> None:
        await tail.ready()
        self.trouble = None
        async for batch in tail.batches():
            messages = [Undecoded(raw.position, raw.subject, raw.payload, raw.traceparent) for raw in batch]
            self._say(await self.runner.apply(messages, batch[-1].position))

    def _say(self, events: Sequence[Recorded]) -> None:
        """Log each run's end, so that a trace can be followed to here."""
        for recorded in events:
            if recorded.envelope.type in TERMINAL_RUN_TYPES:
                with message_context(recorded.envelope):
                    self._logger.info("run_projected", position=recorded.position)

    async def _decode(self, message: Undecoded) -> Recorded:
        return await self._log.recorded.read(message.position, message.subject, message.payload, message.traceparent)

    async def _park(self, message: Undecoded, cause: str) -> None:
        self._logger.warning("message_parked", position=message.position, cause=cause)
        await park(
            self._connection,
            stream=EVENTS,
            consumer=CONSUMER,
            position=message.position,
            subject=message.subject,
            payload=message.payload,
            cause=cause,
        )
