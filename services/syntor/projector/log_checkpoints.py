"""Appends a checkpoint of the whole log now and then: after so many events, and once the log is quiet.

Several projectors may do this: of those that append for the same span, the expected revision lets one win, and the
others compare what it recorded with their own hash when they read it.
"""

from __future__ import annotations

import asyncio

from syntor.contracts import subjects
from syntor.contracts.clock import now
from syntor.contracts.errors import ContractError, InfrastructureError, RejectionError, RevisionConflictError
from syntor.contracts.ids import new_id
from syntor.contracts.log.v1 import LogCheckpoint
from syntor.eventsourcing.store import EventStore, NewEvent, Recorded
from syntor.projections.runner import ProjectionRunner
from syntor.runtime.telemetry import get_logger

LOG_ID = "main"
SOURCE = "projector"
EVERY = 1000  # events at least, while the log grows; a comparison that fails narrows the damage down to as many
QUIET_S = 5.0  # seconds between looks; a log that did not grow meanwhile is covered to its end


class LogCheckpoints:
    """Appends checkpoints of the log a projection runner reads."""

    def __init__(
        self, store: EventStore, runner: ProjectionRunner, *, every: int = EVERY, quiet_s: float = QUIET_S
    ) -> None:
        self._store = store
        self._runner = runner
        self._every = every
        self._quiet_s = quiet_s
        self._last: Recorded | None = None
        """The newest checkpoint event, as far as known here."""
        self._logger = get_logger()

    async def run(self) -> None:
        """Append checkpoints until cancelled."""
        before = 0
        while True:
            await asyncio.sleep(self._quiet_s)  # not woken by each commit, which would cost more than the hashes
            position = self._runner.checkpoint.position
            await self.append(1 if position == before else self._every)
            before = position

    async def append(self, at_least: int = 1) -> None:
        """Append a checkpoint if none covers so many events; what prevents it is logged, and tried again later."""
        try:
            await self._append(at_least)
        except RevisionConflictError:
            self._last = None  # another projector was first
        except (InfrastructureError, RejectionError, ContractError) as exc:
            self._logger.warning("log_checkpoint_not_appended", error=str(exc))

    async def _append(self, at_least: int) -> None:
        checkpoint = self._runner.checkpoint
        if not checkpoint.log_hash or self._uncovered(checkpoint.position) < at_least:
            return
        own = subjects.aggregate("log", LOG_ID)
        try:
            last = self._last = await self._store.last(own)
            revision = last.position if last is not None else 0
        except ContractError:  # what is there is no checkpoint; the next one follows it all the same
            last = self._last = None
            revision = await self._store.last_position(own)
        if self._uncovered(checkpoint.position) < at_least:
            return
        new = NewEvent(
            aggregate_id=LOG_ID,
            event=LogCheckpoint(position=checkpoint.position, hash=checkpoint.log_hash),
            message_id=new_id(),
            source=SOURCE,
            time=now(),
            version=(last.envelope.version if last is not None else 0) + 1,
        )
        position = await self._store.append(new, revision)
        self._last = Recorded(position, new.subject, new.envelope(), new.event)

    def _uncovered(self, position: int) -> int:
        """Return how many events up to a position the newest known checkpoint does not cover, besides itself."""
        last = self._last
        if last is None or not isinstance(last.event, LogCheckpoint) or last.event.position >= last.position:
            return position
        return position - last.event.position - (1 if last.position <= position else 0)
