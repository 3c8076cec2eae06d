"""Takes over the tasks of dead instances of a queue, long before their leases end.

A sweep compares what the queue's consumer has delivered with what the instances hold. A task that none of them holds
is abandoned if the instance that began it has no connection any more, or if no instance began it, or if the instance
replies that it does not hold it. The server is told to deliver it again, which counts the delivery; that may bring it
to a stalled instance, so if none holds the task a second later, this instance adopts it. A stalled instance does not
reply, and keeps its tasks for `SILENT_S`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

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
SETTLE_S = 1.5  # after a reconnect of this process: the other instances, which try every 0.1 s, reconnect too
SILENT_S = 7.0  # the same where it is connected and does not reply; with what follows, its tasks move after 9 to 14 s
ASK_AGAIN_S = 1.5  # a silent instance then has this long to reply to a last question: it may only be slow
AGAIN_S = 1.0  # pause before a task is taken over again, doubled each time: the redelivery may fail, or not be begun
_BATCH = 128  # tasks whose state is read with one request
_ENDS = (AgentInvokeDone, AgentInvokeFailed, AgentInvokePaused)
_TAKEN_OVER = Counter(
    "syntor_tasks_taken_over_total", "Tasks of dead or stalled instances taken over by this one", ("queue",)
)

Adopt = Callable[[int, int], Awaitable[bool]]
"""Holds and handles the message at a position here; gets the newest consumer sequence too. False: there is no room."""


class _Abandoned(NamedTuple):
    """A delivered task that no instance says it holds."""

    holder: str
    """Instance that began it; empty: none did."""
    standing: Standing
    """Of its holder; `gone` where there is none."""


class _Suspect(msgspec.Struct):
    """An abandoned task; it is taken over if it remains so."""

    act_at: float
    pause_s: float = 0.0
    """Pause after the next requeue; 0: it has not been requeued yet."""


class Takeover:
    """Sweeps one queue from this instance; instances need not agree: a task that is requeued twice runs once."""

    def __init__(
        self,
        connection: Connection,
        spec: ConsumerSpec,
        queue: str,
        store: EventStore,
        instances: Instances,
        adopt: Adopt,
    ) -> None:
        self._connection = connection
        self._spec = spec
        self._queue = queue
        self._store = store
        self._instances = instances
        self._adopt = adopt
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
        self._suspects = {p: self._suspect(p, now + _wait_s(a.standing)) for p, a in abandoned.items()}
        due = {p: task for p, task in abandoned.items() if now >= self._suspects[p].act_at}
        replying = await self._replying({p: task for p, task in due.items() if not self._suspects[p].pause_s})
        for position, task in due.items():
            if task.holder not in replying:
                await self._take_over(position, task, self._suspects[position], info.delivered_sequence)

    def _suspect(self, position: int, act_at: float) -> _Suspect:
        """Return what is known of an abandoned task; its holder may have been silent before and be gone now."""
        known = self._suspects.get(position)
        if known is None:
            return _Suspect(act_at)
        if not known.pause_s:
            known.act_at = min(known.act_at, act_at)
        return known

    async def _take_over(self, position: int, task: _Abandoned, suspect: _Suspect, sequence: int) -> None:
        """Requeue a task, or adopt it, if the redelivery brought it to no instance that holds it."""
        again = suspect.pause_s > 0
        suspect.pause_s = suspect.pause_s * 2 or AGAIN_S
        suspect.act_at = asyncio.get_running_loop().time() + suspect.pause_s
        adopted = again and await self._adopt(position, sequence)
        if not adopted:
            await requeue(self._connection, self._spec, position, sequence)
        self._log.warning(
            "task_taken_over",
            queue=self._queue,
            position=position,
            holder=task.holder,
            standing=task.standing,
            adopted=adopted,
        )
        _TAKEN_OVER.labels(self._queue).inc()

    async def _replying(self, due: Mapping[int, _Abandoned]) -> set[str]:
        """Return the holders that were silent and reply, given more time, to a last question."""
        silent = {task.holder: position for position, task in due.items() if task.standing == "silent"}
        standings = await asyncio.gather(
            *(self._instances.standing(holder, position, ASK_AGAIN_S) for holder, position in silent.items())
        )
        return {holder for holder, standing in zip(silent, standings, strict=True) if standing in ("held", "not_held")}

    async def _abandoned(self, info: ConsumerInfo, held: frozenset[int]) -> dict[int, _Abandoned]:
        """Return the delivered assignments that no instance says it holds, by position."""
        queue = subjects.task_queue(self._queue)
        assignments = [
            assignment
            async for assignment in self._store.load(queue, info.acknowledged, info.delivered)
            if assignment.position not in held and assignment.position not in self._settled
        ]
        holders: dict[int, str] = {}
        for start in range(0, len(assignments), _BATCH):
            holders |= await self._holders(assignments[start : start + _BATCH])
        self._settled |= {each.position for each in assignments if each.position not in holders}
        wanted = {holder: position for position, holder in holders.items() if holder}
        asked = await asyncio.gather(*(self._instances.standing(*question) for question in wanted.items()))
        standings: dict[str, Standing] = {"": "gone", **dict(zip(wanted, asked, strict=True))}
        found: dict[int, _Abandoned] = {}
        for position, holder in holders.items():
            standing = standings[holder]
            if standing in ("held", "not_held") and position != wanted[holder]:
                standing = await self._instances.standing(holder, position)
            if standing != "held":  # its reply to the question to all came too late
                found[position] = _Abandoned(holder, standing)
        return found

    async def _holders(self, assignments: list[Recorded]) -> dict[int, str]:
        """Return by position who began each assignment that has not ended; empty: no instance did."""
        filters: list[str] = []
        for assignment in assignments:
            filters += [subjects.of_type(struct, _task_id(assignment)) for struct in (AgentInvokeStarted, *_ENDS)]
        started: dict[str, Recorded] = {}
        ended: dict[str, int] = {}
        for recorded in await self._store.last_of_each(filters):
            task_id = recorded.envelope.subject.partition(".")[2]
            if isinstance(recorded.event, AgentInvokeStarted):
                started[task_id] = recorded
            else:
                ended[task_id] = max(recorded.position, ended.get(task_id, 0))
        found: dict[int, str] = {}
        for assignment in assignments:
            task_id = _task_id(assignment)
            holder = _holder(assignment, started.get(task_id), ended.get(task_id, 0))
            if holder is not None:
                found[assignment.position] = holder
        return found

    def _on_reconnect(self) -> None:
        self._suspects.clear()
        self._not_before = asyncio.get_running_loop().time() + SETTLE_S


def _task_id(assignment: Recorded) -> str:
    assert isinstance(assignment.event, TaskAssigned)
    return subjects.task_id(assignment.envelope.runid, assignment.event.task_id)


def _holder(assignment: Recorded, started: Recorded | None, ended: int) -> str | None:
    """Return the instance that began an assignment, empty if none did; None: it ended, or a later one began.

    Args:
        started: the task's newest start.
        ended: position of its newest end or pause; 0: none.
    """
    assigned = assignment.event
    assert isinstance(assigned, TaskAssigned)
    if started is None or not isinstance(started.event, AgentInvokeStarted):
        return ""
    wanted, began = (assigned.attempt, assigned.resume), (started.event.attempt, started.event.resume)
    if began < wanted:
        return ""
    if began > wanted or ended > started.position:
        return None
    return started.event.instance


def _wait_s(standing: Standing) -> float:
    """Return for how long a task must remain abandoned."""
    match standing:
        case "gone":
            return CONFIRM_S
        case "silent":
            return SILENT_S
        case _:
            return LOST_S
