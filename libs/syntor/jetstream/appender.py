"""Appends messages with an expected revision: resolves unknown outcomes, and uses group commit where it is faster.

Group commit: while the maximum of single publishes is in flight, further appends queue. They leave as one atomic batch
(ADR-50) when that is estimated to be faster than single publishes. Both costs are measured: a batch costs the server a
fixed few milliseconds, a single publish depends on how long its disk takes to sync. Invariants: a batch holds at most
one append per expected-revision filter; the messages of a batch that fails are published singly, with the same ids.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time

import msgspec

from syntor.contracts.decoding import UNDECODABLE
from syntor.contracts.errors import (
    ContractError,
    InfrastructureError,
    NotReachableError,
    OutcomeUnknownError,
    RevisionConflictError,
)
from syntor.contracts.ids import new_id
from syntor.jetstream.connection import Connection
from syntor.jetstream.direct_reader import DirectReader
from syntor.jetstream.errors import WRONG_LAST_SEQUENCE, ApiFault, fault_to_error

RETRY_S = 10.0  # a leader change of a three-node cluster takes this long at most
REPLY_TIMEOUT_S = 5.0
MAX_IN_FLIGHT = 16  # concurrent single publishes; more would only queue in the server
MIN_BATCH = 8
MAX_BATCH = 500  # server limit 1000
FIRST_BATCH_S = 0.01  # initial estimate for a batch, seconds: 3 to 18 ms measured on one node
SINGLE_LEARNING_RATE = 0.1  # weight of a new measurement of a single publish in its moving average
BATCH_LEARNING_RATE = 0.5  # the same for a batch: there are fewer of them
# The estimate of the unused way decays, so that it is tried again: one slow measurement must not decide permanently.
SINGLE_DECAY_RATE = 0.01  # per batch
BATCH_DECAY_RATE = 0.0001  # per single publish
_RETRY_DELAYS_S = (0.02, 0.05, 0.1, 0.25, 0.5)
_FOUND = re.compile(r"wrong last sequence: (\d+)")


class PubAck(msgspec.Struct):
    """The server's acknowledgement of a publish."""

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
    expected_filter: str = ""
    """Subject filter of the consistency boundary whose last revision is checked; empty: no check."""
    expected_revision: int = 0
    """Stream sequence that the last message matching `expected_filter` must have; 0: no message matches."""
    turn: asyncio.Future[int] | None = None
    """Set while it is queued; completed with its position if a batch stored it, with 0 if it is to be sent singly."""


def _wake(item: Append, position: int) -> bool:
    """Complete the turn of a queued append; return False if its caller was cancelled."""
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
        if item.expected_filter:
            item.headers["Nats-Expected-Last-Subject-Sequence"] = str(item.expected_revision)
            item.headers["Nats-Expected-Last-Subject-Sequence-Subject"] = item.expected_filter
        if self._batching is not None or self._in_flight >= self._limit:
            item.turn = asyncio.get_running_loop().create_future()
            self._queue.append(item)
            try:
                position = await item.turn
            except asyncio.CancelledError:
                if item.turn.done() and not item.turn.cancelled() and item.turn.result() == 0:
                    self._in_flight -= 1  # it held an in-flight slot already
                    self._dispatch()
                raise
            if position:
                return position
        else:
            self._in_flight += 1
        try:
            return await self._timed(item)
        finally:
            self._in_flight -= 1
            self._dispatch()

    async def close(self) -> None:
        """Wait for a batch in flight."""
        if self._batching is not None:
            await asyncio.wait([self._batching])

    async def _timed(self, item: Append) -> int:
        """Publish singly, and update the cost estimate: the duration divided by the publishes in flight."""
        began, in_flight = time.perf_counter(), self._in_flight
        position = await self._single(item)
        self._single_s += (((time.perf_counter() - began) / in_flight) - self._single_s) * SINGLE_LEARNING_RATE
        self._batch_s *= 1 - BATCH_DECAY_RATE
        return position

    def _dispatch(self) -> None:
        """Send queued appends: as one batch where that is estimated to be faster, else singly."""
        while self._queue and self._batching is None and self._in_flight < self._limit:
            waiting = len(self._queue)
            if waiting >= MIN_BATCH and waiting * self._single_s > self._batch_s:
                self._batching = asyncio.ensure_future(self._commit_batch())
                return
            self._in_flight += _wake(self._queue.pop(0), 0)

    async def _commit_batch(self) -> None:
        batch = self._take()
        began = time.perf_counter()
        last = await self._batch(batch)
        self._batch_s += ((time.perf_counter() - began) - self._batch_s) * BATCH_LEARNING_RATE
        self._single_s *= 1 - SINGLE_DECAY_RATE
        self._batching = None
        for number, item in enumerate(batch):
            if last:
                _wake(item, last - len(batch) + 1 + number)
            else:
                self._in_flight += _wake(item, 0)
        self._dispatch()

    def _take(self) -> list[Append]:
        """Take a batch from the queue, in order: at most one append per expected-revision filter."""
        batch: list[Append] = []
        left: list[Append] = []
        filters: set[str] = set()
        for item in self._queue:
            if item.turn is None or item.turn.done():
                continue  # its caller was cancelled
            if len(batch) == MAX_BATCH or (item.expected_filter and item.expected_filter in filters):
                left.append(item)
            else:
                filters.add(item.expected_filter)
                batch.append(item)
        self._queue = left
        return batch

    async def _batch(self, batch: list[Append]) -> int:
        """Commit a batch and return its last position; 0 when each append must be sent singly."""
        batch_id, count = new_id(), len(batch)
        if not batch:
            return 0
        try:
            for number, item in enumerate(batch[:-1], 1):
                headers = item.headers | {"Nats-Batch-Id": batch_id, "Nats-Batch-Sequence": str(number)}
                await self._connection.publish(item.subject, item.payload, "", headers)
            final = batch[-1]
            commit = {"Nats-Batch-Id": batch_id, "Nats-Batch-Sequence": str(count), "Nats-Batch-Commit": "1"}
            reply = await self._connection.request_unchecked(
                final.subject, final.payload, headers=final.headers | commit, timeout_s=REPLY_TIMEOUT_S
            )
            ack = PubAck() if reply.status else _decode_ack(reply.payload)
        except (NotReachableError, ContractError, *UNDECODABLE):  # one too large must not fail those beside it
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
        """Publish once; return whether the server may have stored it, and its position or the error."""
        if not self._connection.is_connected:
            return sent_before, NotReachableError(f"not connected to NATS at {self._connection.url}")
        try:
            reply = await self._connection.request_unchecked(
                item.subject, item.payload, headers=item.headers, timeout_s=REPLY_TIMEOUT_S
            )
        except NotReachableError as exc:
            return True, exc
        if reply.status == "503":
            return sent_before, NotReachableError(
                f"append to {item.subject}: no stream responded: it has no leader, or NATS has disabled JetStream, "
                "which it does when its disk is full: see `syntor status`"
            )
        try:
            ack = _decode_ack(reply.payload)
        except UNDECODABLE as exc:
            raise InfrastructureError(f"append to {item.subject}: unreadable acknowledgement: {exc}") from exc
        if ack.error is None:
            return True, ack.seq
        if ack.error.err_code in WRONG_LAST_SEQUENCE:
            return True, await self._resolve_conflict(item, ack.error)
        error = fault_to_error(f"append to {item.subject}", ack.error)
        if isinstance(error, NotReachableError):
            return sent_before, error
        raise error

    async def _resolve_conflict(self, item: Append, fault: ApiFault) -> int:
        """Return the position of an earlier attempt of this append, if that is what it conflicts with.

        Raises:
            RevisionConflictError: another writer appended first.
        """
        message_id = item.headers["Nats-Msg-Id"]
        stored = await self._reader.last(item.subject)
        if (
            stored is None or stored.message_id != message_id
        ):  # later messages may have followed it: look after the revision
            stored = await self._reader.first(item.expected_filter, item.expected_revision)
        if stored is not None and stored.message_id == message_id:
            return stored.position
        found = _FOUND.search(fault.description)
        raise RevisionConflictError(item.expected_filter, item.expected_revision, int(found[1]) if found else None)
