"""One task's part of the log: appends its events with a revision check and streams its output."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from syntor.agentkit.domain import task as tasks
from syntor.agentkit.execution.delta_writer import DeltaWriter
from syntor.contracts import subjects
from syntor.contracts.envelope import Lineage
from syntor.contracts.events import Event
from syntor.contracts.ids import new_id
from syntor.contracts.output.v1 import AgentProgress, AgentStreamDelta
from syntor.contracts.run.v1 import TaskAssigned
from syntor.eventsourcing.store import EventStore, NewEvent, Recorded

PROGRESS_INTERVAL_S = 0.5


class TaskLog:
    """Loads and appends one task's events; a RevisionConflictError means that another attempt owns the task."""

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
        self.state = tasks.INITIAL
        self._store = store
        self._id = subjects.task_id(self.run_id, self.assigned.task_id)
        self._source = source
        self._clock = clock
        self.traceparent = traceparent
        self._revision = 0
        self._version: int = 0
        self._lock = asyncio.Lock()
        self._cause = assignment.envelope.id
        self._progress_at = 0.0
        self.deltas = DeltaWriter(self._append_delta)

    def now(self) -> datetime:
        """Return the time, UTC."""
        return self._clock()

    async def load(self) -> None:
        """Fold the recorded events of the task."""
        scope = subjects.aggregate("task", self._id)
        after = max(self._revision, self.envelope.firstposition)
        async for recorded in self._store.load(scope, after):
            self.state = tasks.evolve(self.state, recorded.event)
            self._revision, self._version = recorded.position, recorded.envelope.version

    async def append(self, event: Event) -> None:
        """Append one event of the task; the next one names it as its cause."""
        async with self._lock:
            new = self._new(event, self._version + 1)
            self._revision = await self._store.append(new, self._revision)
            self._version += 1
            self._cause = new.message_id
            self.state = tasks.evolve(self.state, event)

    async def progress(self, message: str, fraction: float | None) -> None:
        """Publish progress while no text is streamed, at most twice a second; more is dropped."""
        now = asyncio.get_running_loop().time()
        if now - self._progress_at >= PROGRESS_INTERVAL_S:
            self._progress_at = now
            await self._store.append(self._new(AgentProgress(message=message, fraction=fraction), 0), None)

    async def _append_delta(self, call: int, index: int, text: str) -> None:
        await self._store.append(self._new(AgentStreamDelta(call=call, index=index, text=text), 0), None)

    def _new(self, event: Event, version: int) -> NewEvent:
        return NewEvent(
            aggregate_id=self._id,
            event=event,
            message_id=new_id(),
            source=self._source,
            time=self._clock(),
            version=version,
            lineage=Lineage(
                run_id=self.run_id,
                session_id=self.envelope.sessionid,
                causation_id=self._cause,
                correlation_id=self.envelope.correlationid,
                first_position=self.envelope.firstposition,
                traceparent=self.traceparent,
            ),
        )
