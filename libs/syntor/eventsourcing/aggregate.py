"""The one shell around every aggregate: fold, decide, append with the expected revision, retry.

State kept in memory may be behind the log, because other processes append too. An append proves that nothing was
missing: its expected revision is refused otherwise. So deciding that an event is called for needs no read; deciding
that none is, or that a command is rejected, is confirmed on the newest state first. `up_to_date` says whether the
state is known to be that. Invariants: one transaction at a time per aggregate and process; an event is folded once,
in order.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Generic, TypeVar

from syntor.contracts import subjects
from syntor.contracts.envelope import Lineage
from syntor.contracts.errors import RejectionError, RevisionConflictError
from syntor.contracts.events import Event
from syntor.contracts.ids import new_id
from syntor.eventsourcing.decider import Decider
from syntor.eventsourcing.store import EventStore, NewEvent, Recorded

S = TypeVar("S")

MAX_ATTEMPTS = 10  # appends of one transaction that lose against other processes before its caller is told
_BACKOFF_S, _LONGEST_BACKOFF_S = 0.002, 0.2  # first and longest pause after a lost append, doubled and jittered


Decide = Callable[[S], Event | None]
"""Returns the next event the state calls for, or None; may raise RejectionError."""
LineageOf = Callable[[Event], Awaitable[Lineage]]
"""Finds the lineage of an event that belongs to another run than its trigger."""


class Aggregate(Generic[S]):
    """One aggregate: its state, and the revision and version its next event stands on."""

    def __init__(
        self, store: EventStore, decider: Decider[S], aggregate_id: str, source: str, *, after: int = 0
    ) -> None:
        """Start from the initial state, without reading.

        Args:
            source: service that appends, without the prefix `syntor/`.
            after: position before which the log holds no event of it: where a read begins.
        """
        self.id = aggregate_id
        self.state = decider.initial
        self.revision = 0
        """Stream sequence of its last event; 0: none."""
        self.version = 0
        """Dense version of its last event; 0: none."""
        self.up_to_date = False
        """Whether the state is known to be the newest."""
        self.last_message_id = ""
        """Id of the last event appended here; empty: none."""
        self.lock = asyncio.Lock()
        """Held during a transaction."""
        self.users = 0
        """Callers that hold the lock or wait for it; an aggregate in use stays in memory."""
        self._store = store
        self._decider = decider
        self._source = source
        self._after = after

    def enter(self) -> None:
        """Begin a transaction: other processes may have appended since the last one."""
        self.up_to_date = False

    async def transact(
        self,
        decide: Decide[S],
        lineage: Lineage | LineageOf,
        at: datetime,
        *,
        confirm: bool = True,
        limit: int | None = None,
    ) -> list[Event]:
        """Append what `decide` calls for until that is nothing; return the appended events. The lock must be held.

        Args:
            at: envelope time of the events.
            confirm: read the log before "nothing" or a rejection is taken as final; False: the state is good enough.
            limit: events after which the transaction is complete (1 for a command); None: until nothing is called for.

        Raises:
            RejectionError: `decide` rejects the command; events it called for before are appended.
            RevisionConflictError: other processes were first `MAX_ATTEMPTS` times.
            InfrastructureError: the log could not be read or appended to.
        """
        appended: list[Event] = []
        pauses = retry_pauses()
        while True:
            try:
                event = decide(self.state)
            except RejectionError:
                if self.up_to_date or not confirm:
                    raise
                await self.reload()
                continue
            if event is None:
                if self.up_to_date or not confirm:
                    return appended
                await self.reload()
                continue
            try:
                await self.append(event, lineage if isinstance(lineage, Lineage) else await lineage(event), at)
                appended.append(event)
                if len(appended) == limit:
                    return appended
            except RevisionConflictError:
                pause_s = next(pauses, None)
                if pause_s is None:
                    raise
                await asyncio.sleep(pause_s)
                await self.reload()

    async def append(self, event: Event, lineage: Lineage, at: datetime) -> int:
        """Append one event at the expected revision, without a retry; return its position.

        Raises:
            RevisionConflictError: another process appended first.
            InfrastructureError: the log could not be appended to.
        """
        new = NewEvent(
            aggregate_id=self.id,
            event=event,
            message_id=new_id(),
            source=self._source,
            time=at,
            version=self.version + 1,
            lineage=lineage,
        )
        self.up_to_date = False
        position = await self._store.append(new, self.revision)
        if position > self.revision:  # else a subscription delivered it before the acknowledgement arrived
            self.state = self._decider.evolve(self.state, event, at)
            self.revision, self.version = position, new.version
        self.last_message_id = new.message_id
        self.up_to_date = True
        return position

    def fold(self, recorded: Recorded) -> None:
        """Apply an event of the log; one that is folded already changes nothing."""
        if recorded.position > self.revision:
            self.state = self._decider.evolve(self.state, recorded.event, recorded.envelope.time)
            self.revision, self.version = recorded.position, recorded.envelope.version

    async def reload(self) -> None:
        """Fold what the log holds and this process does not know yet."""
        own = subjects.aggregate(self._decider.category, self.id)
        async for recorded in self._store.load(own, max(self.revision, self._after)):
            self.fold(recorded)
        self.up_to_date = True


class Aggregates(Generic[S]):
    """The aggregates of one category this process knows; the least recently used are dropped from memory."""

    def __init__(self, store: EventStore, decider: Decider[S], source: str, *, cached: int | None = 1000) -> None:
        """Start empty.

        Args:
            source: service that appends, without the prefix `syntor/`.
            cached: aggregates kept in memory; None: all.
        """
        self._store = store
        self._decider = decider
        self._source = source
        self._limit = cached
        self._known: OrderedDict[str, Aggregate[S]] = OrderedDict()

    def __len__(self) -> int:
        """Return how many aggregates are in memory."""
        return len(self._known)

    def __iter__(self) -> Iterator[Aggregate[S]]:
        """Iterate over the aggregates in memory."""
        return iter(list(self._known.values()))

    def find(self, aggregate_id: str) -> Aggregate[S] | None:
        """Return an aggregate in memory, or None."""
        return self._known.get(aggregate_id)

    def get(self, aggregate_id: str, *, after: int = 0) -> Aggregate[S]:
        """Return an aggregate as it is known; one not in memory starts from the initial state, `up_to_date` False."""
        aggregate = self._known.get(aggregate_id)
        if aggregate is None:
            aggregate = self._known[aggregate_id] = self._create(aggregate_id, after)
            self._evict()
        self._known.move_to_end(aggregate_id)
        return aggregate

    @asynccontextmanager
    async def hold(self, aggregate_id: str, *, after: int = 0) -> AsyncGenerator[Aggregate[S], None]:
        """Hold the lock of an aggregate; what is known of it may be behind the log."""
        aggregate = self.get(aggregate_id, after=after)
        aggregate.users += 1
        try:
            async with aggregate.lock:
                aggregate.enter()
                yield aggregate
        finally:
            aggregate.users -= 1

    async def transact(
        self,
        aggregate_id: str,
        decide: Decide[S],
        lineage: Lineage | LineageOf,
        at: datetime,
        *,
        confirm: bool = True,
        limit: int | None = None,
        after: int = 0,
    ) -> list[Event]:
        """Hold an aggregate and append what `decide` calls for; see `Aggregate.transact`."""
        async with self.hold(aggregate_id, after=after) as aggregate:
            return await aggregate.transact(decide, lineage, at, confirm=confirm, limit=limit)

    def forget(self, aggregate_id: str) -> None:
        """Drop an aggregate from memory, unless it is in use."""
        aggregate = self._known.get(aggregate_id)
        if aggregate is not None and not aggregate.users:
            del self._known[aggregate_id]

    def _create(self, aggregate_id: str, after: int) -> Aggregate[S]:
        return Aggregate(self._store, self._decider, aggregate_id, self._source, after=after)

    def _evict(self) -> None:
        """Drop the least recently used aggregates above the limit; those in use stay."""
        surplus = 0 if self._limit is None else len(self._known) - self._limit
        for aggregate_id in list(itertools.islice(self._known, max(0, surplus))):
            self.forget(aggregate_id)


def retry_pauses() -> Iterator[float]:
    """Yield the pauses between the attempts of a transaction, in seconds, jittered."""
    pause_s = _BACKOFF_S
    for _ in range(MAX_ATTEMPTS - 1):
        yield pause_s * random.uniform(0.5, 1.0)
        pause_s = min(pause_s * 2, _LONGEST_BACKOFF_S)


async def append_next(
    store: EventStore, event: Event, aggregate_id: str, lineage: Lineage, source: str, at: datetime
) -> int:
    """Append an event behind the last one of its aggregate, whatever that is; return its position.

    For writers that do not stand on the aggregate's state.

    Raises:
        RevisionConflictError: other processes were first `MAX_ATTEMPTS` times.
        InfrastructureError: the log could not be read or appended to.
    """
    message_id = new_id()
    boundary = subjects.consistency_boundary(event, aggregate_id)
    for pause_s in (*retry_pauses(), None):
        last = await store.last(boundary)
        revision, version = (last.position, last.envelope.version) if last is not None else (0, 0)
        new = NewEvent(
            aggregate_id=aggregate_id,
            event=event,
            message_id=message_id,
            source=source,
            time=at,
            version=version + 1,
            lineage=lineage,
        )
        try:
            return await store.append(new, revision)
        except RevisionConflictError:
            if pause_s is None:
                raise
            await asyncio.sleep(pause_s)
    raise AssertionError("the last attempt returns or raises")
