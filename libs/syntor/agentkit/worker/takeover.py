"""Takes over the tasks of dead instances of a queue, long before their leases end.

A sweep compares what the queue's consumer has delivered with what the instances hold. A task that none of them holds
is abandoned if the instance that began it has no connection any more, or if no instance began it, or if the instance
replies that it does not hold it; the server is told to deliver it again. A stalled instance does not reply, and keeps
its tasks until their leases end.
"""

from __future__ import annotations

import asyncio

import msgspec

from syntor.contracts import subjects
from syntor.contracts.errors import ContractError, InfrastructureError, NotFoundError
from syntor.contracts.run.v1 import TaskAssigned
from syntor.contracts.task.v1 import AgentInvokeDone, AgentInvokeFailed, AgentInvokePaused, AgentInvokeStarted
from syntor.contracts.topology import ConsumerSpec
from syntor.eventsourcing.store import EventStore, Recorded
from syntor.jetstream.admin import ConsumerInfo, consumer_info
from syntor.jetstream.connection import Connection
from syntor.jetstream.instances import Instances, Standing, requeue
from syntor.metrics import Counter
from syntor.runtime.telemetry import get_logger

SWEEP_S, IDLE_SWEEP_S = 0.5, 1.0  # pause between sweeps: while a task may be abandoned, and otherwise
CONFIRM_S = 0.8  # a task must be abandoned for this long: deliveries and reconnects take less
LOST_S = 3.0  # the same where the instance that began it is connected: its own request for a redelivery may be lost
SETTLE_S = 3.0  # after a reconnect of this process: the other instances reconnect too
AGAIN_S = 1.0  # pause before a task is requeued again, doubled each time: it may come to a stalled instance, or fail
_ENDS = (AgentInvokeDone, AgentInvokeFailed, AgentInvokePaused)
_TAKEN_OVER = Counter("syntor_tasks_taken_over_total", "Tasks of dead instances requeued by this one", ("queue",))


class _Suspect(msgspec.Struct):
    """A delivered task that no instance seems to hold."""

    requeue_at: float
    pause_s: float


class Takeover:
    """Sweeps one queue from this instance; instances need not agree: a task that is requeued twice runs once."""

    def __init__(
        self,
        connection: Connection,
        spec: ConsumerSpec,
        queue: str,
        store: EventStore,
        instances: Instances,
    ) -> None:
        self._connection = connection
        self._spec = spec
        self._queue = queue
        self._store = store
        self._instances = instances
        self._suspects: dict[int, _Suspect] = {}
        self._settled: set[int] = set()
        self._not_before = 0.0
        self._log = get_logger()

    async def run(self) -> None:
        """Sweep until cancelled."""
        remove_listener = self._connection.on_reconnect(self._on_reconnect)
        try:
            while True:
                try:
                    await self.sweep()
                except (InfrastructureError, NotFoundError, ContractError) as exc:
                    self._log.debug("sweep_failed", queue=self._queue, error=str(exc))
                await asyncio.sleep(SWEEP_S if self._suspects else IDLE_SWEEP_S)
        finally:
            remove_listener()

    async def sweep(self) -> None:
        """Requeue the tasks that have been abandoned for long enough.

        Raises:
            InfrastructureError: the server does not answer.
        """
        now = asyncio.get_running_loop().time()
        if now < self._not_before:
            return
        info = await consumer_info(self._connection, self._spec)
        held = await self._instances.held_by_all() if info.ack_pending > self._instances.held_here else None
        if held is None or info.ack_pending <= len(held):
            self._suspects.clear()
            return
        self._settled = {position for position in self._settled if position > info.acknowledged}
        abandoned = await self._abandoned(info, held)
        known = self._suspects
        self._suspects = {p: known.get(p) or _Suspect(now + wait_s, AGAIN_S) for p, (_, wait_s) in abandoned.items()}
        for position, suspect in self._suspects.items():
            if now >= suspect.requeue_at:
                self._log.warning(
                    "task_taken_over", queue=self._queue, position=position, holder=abandoned[position][0]
                )
                _TAKEN_OVER.labels(self._queue).inc()
                suspect.requeue_at, suspect.pause_s = now + suspect.pause_s, suspect.pause_s * 2
                await requeue(self._connection, self._spec, position, info.delivered_sequence)

    async def _abandoned(self, info: ConsumerInfo, held: frozenset[int]) -> dict[int, tuple[str, float]]:
        """Return the delivered assignments that no instance holds, except those of stalled instances.

        With each: the instance that began it, empty where none did, and seconds until it counts as abandoned.
        """
        found: dict[int, tuple[str, float]] = {}
        standings: dict[str, Standing] = {"": "gone"}
        queue = subjects.task_queue(self._queue)
        async for assignment in self._store.load(queue, info.acknowledged, info.delivered):
            position = assignment.position
            if position in held or position in self._settled:
                continue
            holder = await self._holder(assignment)
            if holder is None:
                self._settled.add(position)
                continue
            if holder not in standings:
                standings[holder] = await self._instances.standing(holder, position)
            if standings[holder] != "silent":
                found[position] = holder, CONFIRM_S if standings[holder] == "gone" else LOST_S
        return found

    async def _holder(self, assignment: Recorded) -> str | None:
        """Return the instance that began an assignment, empty if none did; None: it ended, or a later one began."""
        assigned = assignment.event
        assert isinstance(assigned, TaskAssigned)
        task_id = subjects.task_id(assignment.envelope.runid, assigned.task_id)
        types = (AgentInvokeStarted, *_ENDS)
        wanted = (assigned.attempt, assigned.resume)
        started = ended = None
        for recorded in await self._store.last_of_each([subjects.of_type(struct, task_id) for struct in types]):
            if isinstance(recorded.event, AgentInvokeStarted):
                started = recorded
            else:
                ended = recorded  # oldest first: the newest end remains
        if started is None or not isinstance(started.event, AgentInvokeStarted):
            return ""
        began = (started.event.attempt, started.event.resume)
        if began < wanted:
            return ""
        if began > wanted or (ended is not None and ended.position > started.position):
            return None
        return started.event.instance

    def _on_reconnect(self) -> None:
        self._suspects.clear()
        self._not_before = asyncio.get_running_loop().time() + SETTLE_S
