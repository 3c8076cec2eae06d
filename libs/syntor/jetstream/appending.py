"""Appends messages with a version check: resolves unknown outcomes, and commits in groups where that pays.

Group commit: when all places for single writes are taken, others queue; they leave together as one atomic batch when
that is cheaper than one by one. Which is cheaper is measured: a batch costs the server a fixed few milliseconds, a
single write whatever its disk takes to sync. Invariants: at most one append of an aggregate is in a batch; a batch that
fails is sent again one by one, with the same message ids.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time

import msgspec

from syntor.contracts.decoding import UNDECODABLE
from syntor.contracts.errors import (
    InfrastructureError,
    NotReachableError,
    OutcomeUnknownError,
    RevisionConflictError,
)
from syntor.contracts.ids import new_id
from syntor.jetstream.connection import Connection
from syntor.jetstream.errors import WRONG_LAST_SEQUENCE, ApiFault, fault_to_error
from syntor.jetstream.reading import DirectReader

RETRY_S = 10.0  # a leader change of a three-node cluster takes this long at most
REPLY_TIMEOUT_S = 5.0
MAX_IN_FLIGHT = 16  # single writes beside each other; more only queue in the server
MIN_BATCH = 8
MAX_BATCH = 500  # server limit 1000
FIRST_BATCH_S = 0.01  # seconds a batch is taken to cost until one was measured: 3 to 18 ms on one node
SINGLE_LEARNING_RATE = 0.1  # weight of each measurement of a single write
BATCH_LEARNING_RATE = 0.5  # of a batch: there are fewer of them
# What is not done is taken to get cheaper, so that it is tried again: a slow moment must not decide for ever.
SINGLE_FORGETTING_RATE = 0.01  # per batch
BATCH_FORGETTING_RATE = 0.0001  # per single write
_RETRY_DELAYS_S = (0.02, 0.05, 0.1, 0.25, 0.5)
_FOUND = re.compile(r"wrong last sequence: (\d+)")


class PubAck(msgspec.Struct):
    """The server's answer to a publish."""

    stream: str = ""
    seq: int = 0
    duplicate: bool = False
    count: int = 0
    error: ApiFault | None = None


_decode_ack = msgspec.json.Decoder(PubAck).decode


class Append(msgspec.Struct):
    """One message to append."""

    subject: str
    payload: bytes
    headers: dict[str, str]
    scope: str = ""
    """Filter of the aggregate the version check is about; empty: no check."""
    expected: int = 0
    turn: asyncio.Future[int] | None = None
    """Set while it waits: to its position when it went with a batch, to 0 when it may be sent alone."""


def _wake(item: Append, position: int) -> bool:
    """Let who waits go on; False when nobody waits any more."""
    if item.turn is None or item.turn.done():
        return False
    item.turn.set_result(position)
    return True


class Appender:
    """Appends to one stream."""

    def __init__(self, connection: Connection, reader: DirectReader, *, group_commit: bool) -> None:
        self._connection = connection
        self._reader = reader
        self._limit = MAX_IN_FLIGHT if group_commit else sys.maxsize
        self._in_flight = 0
        self._queue: list[Append] = []
        self._batching: asyncio.Task[None] | None = None
        self._single_s = 0.0
        self._batch_s = FIRST_BATCH_S

    async def append(self, item: Append) -> int:
        """Append and return the position; errors as `EventStore.append`."""
        if item.scope:
            item.headers["Nats-Expected-Last-Subject-Sequence"] = str(item.expected)
            item.headers["Nats-Expected-Last-Subject-Sequence-Subject"] = item.scope
        if self._batching is not None or self._in_flight >= self._limit:
            item.turn = asyncio.get_running_loop().create_future()
            self._queue.append(item)
            try:
                position = await item.turn
            except asyncio.CancelledError:
                if item.turn.done() and not item.turn.cancelled() and item.turn.result() == 0:
                    self._in_flight -= 1  # its place was given to it just then
                    self._go_on()
                raise
            if position:
                return position
        else:
            self._in_flight += 1
        try:
            return await self._timed(item)
        finally:
            self._in_flight -= 1
            self._go_on()

    async def close(self) -> None:
        """Wait for a batch under way."""
        if self._batching is not None:
            await asyncio.wait([self._batching])

    async def _timed(self, item: Append) -> int:
        """Send alone, and learn what that costs while others are under way."""
        began, beside = time.perf_counter(), self._in_flight
        position = await self._single(item)
        self._single_s += (((time.perf_counter() - began) / beside) - self._single_s) * SINGLE_LEARNING_RATE
        self._batch_s *= 1 - BATCH_FORGETTING_RATE
        return position

    def _go_on(self) -> None:
        """Let those who wait go: together where that is cheaper, else one by one."""
        while self._queue and self._batching is None and self._in_flight < self._limit:
            waiting = len(self._queue)
            if waiting >= MIN_BATCH and waiting * self._single_s > self._batch_s:
                self._batching = asyncio.ensure_future(self._together())
                return
            self._in_flight += _wake(self._queue.pop(0), 0)

    async def _together(self) -> None:
        batch = self._take()
        began = time.perf_counter()
        last = await self._batch(batch)
        self._batch_s += ((time.perf_counter() - began) - self._batch_s) * BATCH_LEARNING_RATE
        self._single_s *= 1 - SINGLE_FORGETTING_RATE
        self._batching = None
        for number, item in enumerate(batch):
            if last:
                _wake(item, last - len(batch) + 1 + number)
            else:
                self._in_flight += _wake(item, 0)
        self._go_on()

    def _take(self) -> list[Append]:
        """Take what may go together: at most one append of each aggregate, in order."""
        batch: list[Append] = []
        left: list[Append] = []
        scopes: set[str] = set()
        for item in self._queue:
            if item.turn is None or item.turn.done():
                continue  # who wanted it was cancelled
            if len(batch) == MAX_BATCH or (item.scope and item.scope in scopes):
                left.append(item)
            else:
                scopes.add(item.scope)
                batch.append(item)
        self._queue = left
        return batch

    async def _batch(self, batch: list[Append]) -> int:
        """Commit a batch and return its last position; 0 when each must be sent alone."""
        batch_id, count = new_id(), len(batch)
        if not batch:
            return 0
        try:
            for number, item in enumerate(batch[:-1], 1):
                headers = item.headers | {"Nats-Batch-Id": batch_id, "Nats-Batch-Sequence": str(number)}
                await self._connection.publish(item.subject, item.payload, "", headers)
            final = batch[-1]
            marks = {"Nats-Batch-Id": batch_id, "Nats-Batch-Sequence": str(count), "Nats-Batch-Commit": "1"}
            reply = await self._connection.ask(
                final.subject, final.payload, headers=final.headers | marks, timeout_s=REPLY_TIMEOUT_S
            )
            ack = PubAck() if reply.status else _decode_ack(reply.payload)
        except (NotReachableError, *UNDECODABLE):
            return 0
        return ack.seq if ack.error is None and ack.count == count else 0

    async def _single(self, item: Append) -> int:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + RETRY_S
        sent_before = False
        delays = iter(_RETRY_DELAYS_S)
        while True:
            sent_before, outcome = await self._try(item, sent_before)
            if isinstance(outcome, int):
                return outcome
            delay_s = next(delays, _RETRY_DELAYS_S[-1])
            if loop.time() + delay_s >= deadline or self._connection.closed.done():
                if sent_before:
                    raise OutcomeUnknownError(f"append to {item.subject}: {outcome}") from outcome
                raise outcome
            await asyncio.sleep(delay_s)
            await self._connection.wait_connected(max(0.0, deadline - loop.time()))

    async def _try(self, item: Append, sent_before: bool) -> tuple[bool, int | NotReachableError]:
        """Send once; return whether the server may have it, and its position or why it is not known."""
        if not self._connection.is_connected:
            return sent_before, NotReachableError(f"not connected to NATS at {self._connection.url}")
        try:
            reply = await self._connection.ask(
                item.subject, item.payload, headers=item.headers, timeout_s=REPLY_TIMEOUT_S
            )
        except NotReachableError as exc:
            return True, exc
        if reply.status == "503":
            return sent_before, NotReachableError(
                f"append to {item.subject}: no stream takes it: it has no leader, or NATS turned JetStream "
                "off, which it does when its disk is full: see `syntor status`"
            )
        try:
            ack = _decode_ack(reply.payload)
        except UNDECODABLE as exc:
            raise InfrastructureError(f"append to {item.subject}: unreadable answer: {exc}") from exc
        if ack.error is None:
            return True, ack.seq
        if ack.error.err_code in WRONG_LAST_SEQUENCE:
            return True, await self._resolve_conflict(item, ack.error)
        error = fault_to_error(f"append to {item.subject}", ack.error)
        if isinstance(error, NotReachableError):
            return sent_before, error
        raise error

    async def _resolve_conflict(self, item: Append, fault: ApiFault) -> int:
        """Return our own position when the conflict is with ourselves: an earlier try was stored.

        Raises:
            RevisionConflictError: another writer was first.
        """
        message_id = item.headers["Nats-Msg-Id"]
        stored = await self._reader.last(item.subject)
        if stored is None or stored.message_id != message_id:  # others may have followed ours; then it is the next one
            stored = await self._reader.first(item.scope, item.expected)
        if stored is not None and stored.message_id == message_id:
            return stored.position
        found = _FOUND.search(fault.description)
        raise RevisionConflictError(item.scope, item.expected, int(found[1]) if found else None)
