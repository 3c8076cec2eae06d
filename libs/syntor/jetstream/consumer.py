"""Handles the messages of a durable consumer: decode, handle, then acknowledge, hand back or give up.

Invariants: messages of one run are handled one at a time, in order; no more are fetched than can be worked on; a
message is acknowledged only after its handler returned. Handlers may run twice for the same message. The server never
gives a message up by itself: one it would no longer deliver could neither be parked nor seen.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager

import msgspec

from syntor.contracts import subjects
from syntor.contracts.errors import (
    ContractError,
    InfrastructureError,
    NotReachableError,
    RejectionError,
    RevisionConflictError,
)
from syntor.contracts.topology import ConsumerSpec
from syntor.eventsourcing.store import Recorded
from syntor.jetstream.blobs import BlobStore
from syntor.jetstream.connection import Connection, Message
from syntor.jetstream.dead_letters import park
from syntor.jetstream.pulling import Metadata, Puller, parse_metadata
from syntor.jetstream.store import RecordedReader
from syntor.metrics import Counter, Histogram

CONFLICT_RETRIES = 3
_NAK_FIRST_S, _NAK_MAX_S = 0.2, 30.0
_ASK_AGAIN_FIRST_S, _ASK_AGAIN_MAX_S = 0.05, 1.0
_NS = 1_000_000_000
_log = logging.getLogger("syntor.jetstream")
_HANDLED = Counter("syntor_messages_handled_total", "Messages by outcome", ("consumer", "outcome"))
_SECONDS = Histogram("syntor_message_handling_seconds", "Time in the handler", ("consumer",))


class Delivery(msgspec.Struct, frozen=True):
    """A message handed to a handler."""

    recorded: Recorded
    attempt: int
    """1 for the first delivery."""
    last: bool
    """Whether it is parked if this attempt fails."""
    recorded_at_ns: int
    """When the stream stored it, nanoseconds since 1970."""


class Parked(msgspec.Struct, frozen=True):
    """A message that was given up."""

    stream: str
    consumer: str
    position: int
    subject: str
    cause: str


Handler = Callable[[Delivery], Awaitable[None]]
OnParked = Callable[[Parked], Awaitable[None]]


class Consumer:
    """One process's share of a durable consumer."""

    def __init__(
        self,
        connection: Connection,
        spec: ConsumerSpec,
        handle: Handler,
        *,
        max_concurrent: int,
        around: Callable[[Recorded], AbstractContextManager[None]] | None = None,
        ordered: bool = True,
        on_parked: OnParked | None = None,
    ) -> None:
        """Prepare; nothing is fetched before `start`.

        Args:
            max_concurrent: messages worked on at once.
            around: entered for each message while it is handled.
            ordered: messages of one run are handled one after the other; False: each for itself.
            on_parked: called once a message is parked, before the server is told; may raise InfrastructureError.
        """
        self._connection = connection
        self._spec = spec
        self._handle = handle
        self._slots = min(max_concurrent, spec.max_ack_pending)
        self._around = around
        self._ordered = ordered
        self._on_parked = on_parked
        self._reader = RecordedReader(BlobStore(connection))
        self._puller = Puller(
            connection,
            spec.stream,
            spec.name,
            on_message=self._on_message,
            on_ended=self._top_up,
            on_lost=self._on_lost,
        )
        self._lanes: dict[str, deque[tuple[Message, Metadata]]] = {}
        self._held: dict[str, Message] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._renewing: asyncio.Task[None] | None = None
        self._asking_later: asyncio.TimerHandle | None = None
        self._ask_again_s = _ASK_AGAIN_FIRST_S
        self._stopping = asyncio.Event()
        self._seconds = _SECONDS.labels(spec.name)
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Holds the exception of a handler that failed in a way nobody foresaw: the process must stop."""

    @property
    def busy(self) -> int:
        """Messages held: worked on or waiting for their run's turn."""
        return len(self._held)

    async def start(self) -> None:
        """Begin to fetch and handle."""
        self._puller.start()
        self._renewing = asyncio.create_task(self._renew())
        self._top_up()

    async def stop(self, timeout_s: float = 20.0) -> None:
        """Stop fetching, hand back what was not begun, and wait for what was; then cancel and hand that back too."""
        self._stopping.set()
        if self._asking_later is not None:
            self._asking_later.cancel()
        for lane in list(self._lanes.values()):
            while lane:
                await self._release(lane.pop()[0])
        await self._puller.stop()
        if self._tasks:
            _, left = await asyncio.wait(self._tasks, timeout=timeout_s)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
        for message in list(self._held.values()):
            await self._release(message)
        if self._renewing is not None:
            self._renewing.cancel()

    def _top_up(self) -> None:
        """Ask for as many messages as there are free slots; while some are asked for, not one by one."""
        outstanding = self._puller.outstanding
        free = self._slots - self.busy - outstanding
        if not self._stopping.is_set() and (free >= max(1, self._slots // 4) or (free > 0 and outstanding == 0)):
            self._puller.ask(free)

    def _on_lost(self) -> None:
        """Ask anew, less and less often while it fails: a durable consumer is still there, or is made again."""
        if self._stopping.is_set():
            return
        if self._asking_later is not None:
            self._asking_later.cancel()
        self._asking_later = asyncio.get_running_loop().call_later(self._ask_again_s, self._top_up)
        if self._ask_again_s < _ASK_AGAIN_MAX_S <= self._ask_again_s * 2:
            _log.warning("consumer_not_available: %s on %s; asking on", self._spec.name, self._spec.stream)
        self._ask_again_s = min(self._ask_again_s * 2, _ASK_AGAIN_MAX_S)

    def _on_message(self, message: Message) -> None:
        self._ask_again_s = _ASK_AGAIN_FIRST_S
        self._held[message.reply] = message
        if self._stopping.is_set():
            task = asyncio.ensure_future(self._release(message))
        else:
            meta = parse_metadata(message.reply)
            key = lane_of(message.subject) if self._ordered else message.reply
            lane = self._lanes.get(key)
            if lane is not None:
                lane.append((message, meta))
                return
            self._lanes[key] = deque([(message, meta)])
            task = asyncio.ensure_future(self._work(key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, key: str) -> None:
        lane = self._lanes[key]
        try:
            while lane:
                message, meta = lane.popleft()
                await self._process(message, meta)
                self._held.pop(message.reply, None)
                self._top_up()
        except Exception as exc:  # noqa: BLE001 - the process is told and stops; nothing was acknowledged
            if not self.failed.done():
                self.failed.set_exception(exc)
        finally:
            self._lanes.pop(key, None)

    async def _release(self, message: Message) -> None:
        """Hand a message back that was not worked on; others get it at once."""
        await self._answer(message, b"-NAK")
        self._held.pop(message.reply, None)

    async def _process(self, message: Message, meta: Metadata) -> None:
        """Handle one message and answer the server; only unforeseen errors leave here."""
        name, limit = self._spec.name, self._spec.max_deliver
        last = meta.delivered >= limit
        try:
            if meta.delivered > limit:  # who held it before died over it, or could not park it
                raise ContractError(f"none of {limit} deliveries came to an end")
            traceparent = message.headers.get("traceparent", "") if message.headers else ""
            recorded = await self._reader.read(meta.position, message.subject, message.payload, traceparent)
            began = time.perf_counter()
            try:
                await self._handle_retrying(Delivery(recorded, meta.delivered, last, meta.timestamp_ns))
            finally:
                self._seconds.observe(time.perf_counter() - began)
        except RejectionError as exc:
            outcome = "rejected"
            _log.warning("message_rejected: %s, position %d: %s", name, meta.position, exc)
            await self._answer(message, b"+ACK")
        except ContractError as exc:
            outcome = await self._give_up(message, meta, str(exc))
        except InfrastructureError as exc:
            _log.warning(
                "message_not_handled: %s, position %d, delivery %d: %s", name, meta.position, meta.delivered, exc
            )
            if last:
                outcome = await self._give_up(message, meta, f"{meta.delivered} deliveries failed; the last: {exc}")
            else:
                outcome = await self._hand_back(message, meta.delivered)
        else:
            outcome = "handled"
            await self._answer(message, b"+ACK")
        _HANDLED.labels(name, outcome).inc()

    async def _handle_retrying(self, delivery: Delivery) -> None:
        around = self._around(delivery.recorded) if self._around else contextlib.nullcontext()
        with around:
            for attempt in range(CONFLICT_RETRIES + 1):
                try:
                    return await self._handle(delivery)
                except RevisionConflictError:
                    if attempt == CONFLICT_RETRIES:
                        raise
                    await asyncio.sleep(random.uniform(0, 0.01 * 2**attempt))

    async def _give_up(self, message: Message, meta: Metadata, cause: str) -> str:
        """Park a message for good; handed back once more when even that is not possible now."""
        try:
            await park(
                self._connection,
                stream=self._spec.stream,
                consumer=self._spec.name,
                position=meta.position,
                subject=message.subject,
                payload=message.payload,
                cause=cause,
            )
            if self._on_parked is not None:
                await self._on_parked(Parked(self._spec.stream, self._spec.name, meta.position, message.subject, cause))
        except InfrastructureError:
            return await self._hand_back(message, meta.delivered)
        _log.error("message_parked: %s, position %d: %s", self._spec.name, meta.position, cause)
        await self._answer(message, b"+TERM " + cause[:200].replace("\n", " ").encode("utf-8", "replace"))
        return "parked"

    async def _hand_back(self, message: Message, delivered: int) -> str:
        delay_s = min(_NAK_MAX_S, _NAK_FIRST_S * 2 ** min(delivered - 1, 10)) * random.uniform(0.5, 1.0)
        await self._answer(message, b'-NAK {"delay": %d}' % int(delay_s * _NS))
        return "handed_back"

    async def _answer(self, message: Message, answer: bytes) -> None:
        with contextlib.suppress(NotReachableError):  # unanswered, it is delivered again
            await self._connection.publish(message.reply, answer)

    async def _renew(self) -> None:
        """Tell the server that held messages are worked on, so that only a dead process loses them."""
        while True:
            await asyncio.sleep(self._spec.ack_wait_s / 3)
            for message in list(self._held.values()):
                await self._answer(message, b"+WPI")


def lane_of(subject: str) -> str:
    """Return what messages are kept in order by: the run, or the id for other categories."""
    if subject.startswith(subjects.EVENTS_PREFIX):
        return subject.split(".", 4)[3]
    return subject.split(".", 4)[-2] if subject.startswith("syntor.timers.due.") else subject
