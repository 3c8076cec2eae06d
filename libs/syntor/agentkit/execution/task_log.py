"""One task's part of the log: appends its events with a revision check and streams its output."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from datetime import datetime

from syntor.agentkit.domain.task import TASK, Task
from syntor.agentkit.execution.delta_writer import DeltaWriter
from syntor.contracts import subjects
from syntor.contracts.bounds import clip
from syntor.contracts.envelope import Lineage
from syntor.contracts.errors import RevisionConflictError, SupersededError
from syntor.contracts.events import Event
from syntor.contracts.ids import new_id
from syntor.contracts.output.v1 import AgentProgress, AgentStreamDelta
from syntor.contracts.run.v1 import TaskAssigned
from syntor.contracts.task.v1 import AgentInvokeStarted
from syntor.eventsourcing.aggregate import Aggregate
from syntor.eventsourcing.store import EventStore, NewEvent, Recorded

PROGRESS_INTERVAL_S = 0.5
UNCHECKED_S = 4.0  # output after a longer pause, which may have been a stall, is preceded by a look at the owner


class TaskLog:
    """Loads and appends one task's events; after a conflict another attempt owns the task: nothing more is appended."""

    def __init__(
        self,
        store: EventStore,
        assignment: Recorded,
        source: str,
        clock: Callable[[], datetime],
        traceparent: str,
    ) -> None:
        assert isinstance(assignment.event, TaskAssigned)
        self.assigned = assignment.event
        self.envelope = assignment.envelope
        self.run_id = assignment.envelope.runid
        self.traceparent = traceparent
        self.tracestate = ""
        """Trace state (W3C) of the caller whose trace this is; empty: none."""
        self.deltas = DeltaWriter(self._append_delta)
        self._store = store
        self._source = source
        self._clock = clock
        task_id = subjects.task_id(self.run_id, self.assigned.task_id)
        self._task = Aggregate(store, TASK, task_id, source, after=self.envelope.firstposition)
        self._superseded = False
        self._began_at = 0
        self._output_at = 0.0
        self.on_superseded: Callable[[], object] = lambda: None
        """Called once when another attempt owns the task."""
        self._progress_at = -PROGRESS_INTERVAL_S

    @property
    def state(self) -> Task:
        """The task, folded from what was loaded and appended."""
        return self._task.state

    def now(self) -> datetime:
        """Return the time, UTC."""
        return self._clock()

    def lineage(self) -> Lineage:
        """Return the lineage of the task's next event: caused by its last one here, or by the assignment."""
        return Lineage(
            run_id=self.run_id,
            session_id=self.envelope.sessionid,
            causation_id=self._task.last_message_id or self.envelope.id,
            correlation_id=self.envelope.correlationid,
            first_position=self.envelope.firstposition,
            traceparent=self.traceparent,
        )

    async def load(self) -> None:
        """Fold the recorded events of the task."""
        await self._task.reload()

    async def begin(self, event: AgentInvokeStarted) -> None:
        """Append the start of this attempt, which supersedes all earlier ones.

        Raises:
            RevisionConflictError: the task has events that are not loaded.
            InfrastructureError: the log could not be appended to.
        """
        async with self._task.lock:
            self._began_at = await self._task.append(event, self.lineage(), self._clock())
            self._output_at = asyncio.get_running_loop().time()

    async def append(self, event: Event) -> None:
        """Append one event of the task, without a retry.

        Raises:
            SupersededError: another attempt owns the task.
            RevisionConflictError: an append of this attempt whose outcome was unknown is in the log.
            InfrastructureError: the log could not be appended to.
        """
        async with self._task.lock:
            self._check_owned()
            try:
                await self._task.append(event, self.lineage(), self._clock())
            except RevisionConflictError:
                await self.check_owner()
                self._check_owned()
                raise

    @property
    def superseded(self) -> bool:
        """Whether another attempt owns the task."""
        return self._superseded

    def supersede(self) -> None:
        """Record that another attempt owns the task: this one appends nothing from now on."""
        if not self._superseded:
            self._superseded = True
            self.on_superseded()

    async def check_owner(self) -> None:
        """Read whether a later attempt has begun.

        Raises:
            InfrastructureError: the log could not be read.
        """
        newest = await self._store.last_position(subjects.of_type(AgentInvokeStarted, self._task.id))
        if newest > self._began_at > 0:
            self.supersede()

    def _check_owned(self) -> None:
        if self._superseded:
            raise SupersededError(f"another attempt owns task {self._task.id}")

    async def progress(self, message: str, fraction: float | None, *, always: bool = False) -> None:
        """Publish progress while no text is streamed, at most twice a second; more is dropped unless `always`."""
        now = asyncio.get_running_loop().time()
        if always or now - self._progress_at >= PROGRESS_INTERVAL_S:
            self._progress_at = now
            share = min(1.0, max(0.0, fraction)) if fraction is not None and math.isfinite(fraction) else None
            await self._publish(AgentProgress(message=clip(message), fraction=share))

    async def _append_delta(self, call: int, index: int, text: str) -> None:
        await self._publish(AgentStreamDelta(call=call, index=index, text=text))

    async def _publish(self, event: Event) -> None:
        """Append an output event, whose order is not checked; a superseded attempt has no output."""
        paused_s = asyncio.get_running_loop().time() - self._output_at
        if paused_s > UNCHECKED_S and not self._superseded:
            await self.check_owner()
        if self._superseded:
            return
        self._output_at = asyncio.get_running_loop().time()
        new = NewEvent(
            aggregate_id=self._task.id,
            event=event,
            message_id=new_id(),
            source=self._source,
            time=self._clock(),
            version=0,
            lineage=self.lineage(),
        )
        await self._store.append(new, None)
