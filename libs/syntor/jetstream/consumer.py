"""Handles the messages of a durable consumer: decode, handle, then ack, nak or dead-letter.

Invariants: messages of one run are handled one at a time, in order; no more messages are fetched than there are free
slots; a message is acknowledged only after its handler returned. A handler may run twice for the same message. The
server's `max_deliver` is unlimited and this module counts deliveries: a message at the server's own limit would stay in
the stream, neither delivered again nor dead-lettered. Whatever a message makes its handler raise concerns this message
only: it is retried and then dead-lettered, and the consumer continues.

A delivery of a message this process already holds renews its lease and starts nothing: the message is acknowledged at
the reply subject of its newest delivery. The lease of a message is the server's `ack_wait`, renewed while it is held. A
message that was delivered to a dead or stalled instance can be adopted: held and handled without a delivery.
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

from syntor.contracts.errors import (
    ContractError,
    InfrastructureError,
    NotReachableError,
    RejectionError,
    SupersededError,
)
from syntor.contracts.topology import ConsumerSpec
from syntor.eventsourcing.dead_letters import DeadLettered, OnDeadLettered
from syntor.eventsourcing.store import RawEvent, Recorded
from syntor.jetstream.blobs import BlobStore
from syntor.jetstream.connection import Connection, Message
from syntor.jetstream.dead_letters import dead_letter
from syntor.jetstream.direct_reader import DirectReader
from syntor.jetstream.instances import ack_subject
from syntor.jetstream.places import Places
from syntor.jetstream.puller import Metadata, Puller, parse_metadata
from syntor.jetstream.store import RecordedReader
from syntor.metrics import Counter, Histogram

UNEXPECTED_DELIVERIES = 3  # of a message that makes its handler raise what is not one of our errors: a defect
_NAK_FIRST_S, _NAK_MAX_S = 0.2, 30.0  # delay of a redelivery: first, longest
_REFETCH_FIRST_S, _REFETCH_MAX_S = 0.05, 1.0  # back-off after a lost pull request: first, longest
_RENEW_S = 2.0  # longest pause between renewals: a process may stall for ack_wait less this before its lease ends
_STALL_S = 4.0  # time without renewals after which the process has stalled
_NS = 1_000_000_000
_log = logging.getLogger("syntor.jetstream")
_HANDLED = Counter(
    "syntor_messages_handled_total",
    "Messages by outcome: handled, rejected, requeued, superseded or dead_lettered",
    ("consumer", "outcome"),
)
_REDELIVERED = Counter(
    "syntor_redeliveries_joined_total", "Deliveries of messages that this process already held", ("consumer",)
)
_SECONDS = Histogram("syntor_message_handling_seconds", "Duration of handler calls", ("consumer",))


class Delivery(msgspec.Struct, frozen=True):
    """A message handed to a handler."""

    recorded: Recorded
    attempt: int
    """1 for the first delivery."""
    last: bool
    """Whether the message is dead-lettered if this attempt fails."""
    recorded_at_ns: int
    """When the stream stored it, nanoseconds since 1970."""


Handler = Callable[[Delivery], Awaitable[None]]


class _Held:
    """A message this process handles or queues, with its newest delivery."""

    def __init__(self, message: Message, meta: Metadata) -> None:
        self.message = message
        """Newest delivery; it is acknowledged."""
        self.meta = meta
        """Metadata of the first delivery to this process; it is handled."""
        self.newest = meta.consumer_sequence

    def join(self, message: Message, meta: Metadata) -> None:
        """Take over the reply subject of another delivery, unless a newer one is known."""
        if meta.consumer_sequence > self.newest:
            self.message, self.newest = message, meta.consumer_sequence


Middleware = Callable[[Recorded], AbstractContextManager[None]]
"""Context manager that is entered for each message while its handler runs."""


class Consumer:
    """One process's subscription to a durable consumer; other processes may share the same consumer."""

    def __init__(
        self,
        connection: Connection,
        spec: ConsumerSpec,
        handle: Handler,
        *,
        max_concurrent: int,
        middleware: Middleware | None = None,
        ordered: bool = True,
        on_dead_lettered: OnDeadLettered | None = None,
        on_stall: Callable[[], None] = lambda: None,
        takes_work: Callable[[], bool] = lambda: True,
        reader: RecordedReader | None = None,
    ) -> None:
        """Prepare; nothing is fetched before `start`.

        Args:
            max_concurrent: messages handled concurrently, at most.
            middleware: entered for each message while its handler runs.
            ordered: messages of one run are handled one after the other; False: all independently.
            on_dead_lettered: called once a message is in the dead letters, before its delivery is terminated; may
                raise InfrastructureError: the message is then delivered again.
            on_stall: called after a time without renewals in which others may have taken messages over.
            takes_work: asked before messages are fetched; while it returns False, none are.
            reader: decodes messages; that of the store the handler appends to, which then knows what its next event
                follows. None: one of its own.
        """
        self._connection = connection
        self._spec = spec
        self._handle = handle
        self._slots = min(max_concurrent, spec.max_ack_pending)
        self._middleware = middleware
        self._ordered = ordered
        self._on_dead_lettered = on_dead_lettered
        self._on_stall = on_stall
        self._takes_work = takes_work
        self._reader = reader or RecordedReader(BlobStore(connection))
        self._stored = DirectReader(connection, spec.stream)
        self._places = Places(self._slots)  # adopted messages come on top of those fetched
        self._puller = Puller(
            connection,
            spec.stream,
            spec.name,
            on_message=self._on_message,
            on_ended=self._top_up,
            on_lost=self._on_lost,
        )
        self._lanes: dict[str, deque[_Held]] = {}
        self._held: dict[int, _Held] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._renewing: asyncio.Task[None] | None = None
        self._refetching: asyncio.TimerHandle | None = None
        self._refetch_s = _REFETCH_FIRST_S
        self._stopping = asyncio.Event()
        self._seconds = _SECONDS.labels(spec.name)
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Holds what made fetching or acknowledging impossible for every message; the process must stop then."""

    @property
    def busy(self) -> int:
        """Messages held: being handled, or queued behind another message of their run."""
        return len(self._held)

    @property
    def held(self) -> frozenset[int]:
        """Stream positions of the messages held."""
        return frozenset(self._held)

    async def start(self) -> None:
        """Start fetching and handling."""
        self._puller.start()
        self._renewing = asyncio.create_task(self._renew())
        self._top_up()

    @property
    def has_room(self) -> bool:
        """Whether this process may adopt a message now; handlers that lent their place leave room."""
        return self.busy - self._places.lent < self._slots and not self._stopping.is_set() and self._takes_work()

    async def adopt(self, position: int, consumer_sequence: int) -> bool:
        """Hold and handle a message that was delivered to another instance; return False if it cannot be.

        The other instance may continue: what the handler does must be fenced. The delivery is not counted, so a
        message that ends its processes must be delivered again between two adoptions.

        Args:
            consumer_sequence: of the consumer's newest delivery.

        Raises:
            InfrastructureError: the message could not be read.
        """
        raw = await self._stored.get(position)
        if raw is None or position in self._held or not self.has_room:
            return False
        headers = {"traceparent": raw.traceparent} if raw.traceparent else None
        reply = ack_subject(self._spec, position, consumer_sequence)
        self._on_message(Message(raw.subject, raw.payload, reply, headers))
        return True

    async def stop(self, timeout_s: float = 20.0) -> None:
        """Stop fetching, requeue what no handler began, and wait for running handlers.

        Args:
            timeout_s: handlers that take longer are cancelled, and their messages requeued too.
        """
        self._stopping.set()
        if self._refetching is not None:
            self._refetching.cancel()
        for lane in list(self._lanes.values()):
            while lane:
                await self._requeue(lane.pop())
        await self._puller.stop()
        if self._tasks:
            _, left = await asyncio.wait(self._tasks, timeout=timeout_s)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
        for held in list(self._held.values()):
            await self._requeue(held)
        if self._renewing is not None:
            self._renewing.cancel()

    def _top_up(self) -> None:
        """Fetch as many messages as there are free slots; in groups while other requests are outstanding."""
        outstanding = self._puller.outstanding
        free = self._slots - self.busy - outstanding
        if self._stopping.is_set() or not self._takes_work():
            return
        if free >= max(1, self._slots // 4) or (free > 0 and outstanding == 0):
            self._puller.fetch(free)

    def _on_lost(self) -> None:
        """Re-issue the pull request with exponential back-off; a durable consumer exists, or is created again."""
        if self._stopping.is_set():
            return
        if self._refetching is not None:
            self._refetching.cancel()
        self._refetching = asyncio.get_running_loop().call_later(self._refetch_s, self._top_up)
        if self._refetch_s < _REFETCH_MAX_S <= self._refetch_s * 2:
            _log.warning("consumer_unavailable: %s on %s; retrying", self._spec.name, self._spec.stream)
        self._refetch_s = min(self._refetch_s * 2, _REFETCH_MAX_S)

    def _on_message(self, message: Message) -> None:
        self._refetch_s = _REFETCH_FIRST_S
        meta = parse_metadata(message.reply)
        known = self._held.get(meta.position)
        if known is not None:  # the delivery itself renewed the lease
            known.join(message, meta)
            _REDELIVERED.labels(self._spec.name).inc()
            self._top_up()
            return
        held = self._held[meta.position] = _Held(message, meta)
        if self._stopping.is_set():
            task = asyncio.ensure_future(self._requeue(held))
        else:
            key = lane_of(message.subject) if self._ordered else message.reply
            lane = self._lanes.get(key)
            if lane is not None:
                lane.append(held)
                return
            self._lanes[key] = deque([held])
            task = asyncio.ensure_future(self._work(key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, key: str) -> None:
        lane = self._lanes[key]
        try:
            while lane:
                held = lane.popleft()
                async with self._places.taken():
                    await self._process(held)
                self._held.pop(held.meta.position, None)
                self._top_up()
        except Exception as exc:  # noqa: BLE001 - not of a handler: of the machinery all messages need
            if not self.failed.done():
                self.failed.set_exception(exc)
        finally:
            self._lanes.pop(key, None)

    async def _requeue(self, held: _Held) -> None:
        """Nak a message that was not handled, without a delay: another instance gets it immediately."""
        await self._respond(held, b"-NAK")
        self._held.pop(held.meta.position, None)

    async def _process(self, held: _Held) -> None:
        """Handle one message and acknowledge, requeue or dead-letter it; no error of a handler leaves this method."""
        message, meta = held.message, held.meta
        name, limit = self._spec.name, self._spec.max_deliver
        last = meta.delivered >= limit
        traceparent = message.headers.get("traceparent", "") if message.headers else ""
        raw = RawEvent(meta.position, message.subject, message.payload, meta.timestamp_ns, traceparent)
        try:
            if meta.delivered > limit:  # a process that held it died, or could not dead-letter it
                raise ContractError(f"none of {limit} deliveries was acknowledged")
            recorded = await self._reader.read(raw)
            began = time.perf_counter()
            try:
                with self._middleware(recorded) if self._middleware else contextlib.nullcontext():
                    await self._handle(Delivery(recorded, meta.delivered, last, meta.timestamp_ns))
            finally:
                self._seconds.observe(time.perf_counter() - began)
        except RejectionError as exc:
            outcome = "rejected"
            _log.warning("message_rejected: %s, position %d: %s", name, meta.position, exc)
            await self._respond(held, b"+ACK")
        except SupersededError as exc:  # the other attempt acknowledges it
            outcome = "superseded"
            _log.warning("message_superseded: %s, position %d: %s", name, meta.position, exc)
        except ContractError as exc:
            outcome = await self._dead_letter(held, str(exc))
        except InfrastructureError as exc:
            _log.warning(
                "message_not_handled: %s, position %d, delivery %d: %s", name, meta.position, meta.delivered, exc
            )
            if last:
                outcome = await self._dead_letter(held, f"{meta.delivered} deliveries failed; the last: {exc}")
            else:
                outcome = await self._nak(held)
        except asyncio.CancelledError as exc:
            if _is_cancelled():
                raise
            outcome = await self._unexpected(held, exc)  # of something the handler awaited: it is not told to stop
        except Exception as exc:  # noqa: BLE001 - it concerns this message only
            outcome = await self._unexpected(held, exc)
        else:
            outcome = "handled"
            await self._respond(held, b"+ACK")
        _HANDLED.labels(name, outcome).inc()

    async def _unexpected(self, held: _Held, exc: BaseException) -> str:
        """Requeue a message whose handler has a defect; a few deliveries tell a rare circumstance from a defect."""
        name, meta = self._spec.name, held.meta
        _log.error("handler_raised: %s, position %d, delivery %d", name, meta.position, meta.delivered, exc_info=exc)
        if meta.delivered < min(UNEXPECTED_DELIVERIES, self._spec.max_deliver):
            return await self._nak(held)
        return await self._dead_letter(held, f"{type(exc).__name__}: {exc}")

    async def _dead_letter(self, held: _Held, cause: str) -> str:
        """Dead-letter a message and terminate its delivery; nak it when the dead letter cannot be stored now."""
        message, meta = held.message, held.meta
        letter = DeadLettered(
            stream=self._spec.stream,
            consumer=self._spec.name,
            position=meta.position,
            subject=message.subject,
            cause=cause,
        )
        try:
            await dead_letter(self._connection, letter, message.payload)
            if self._on_dead_lettered is not None:
                await self._on_dead_lettered(letter)
        except InfrastructureError:
            return await self._nak(held)
        except Exception:  # noqa: BLE001 - the message is kept; its run's own log may be what cannot be appended to
            _log.exception("dead_letter_not_recorded: %s, position %d", self._spec.name, meta.position)
        _log.error("message_dead_lettered: %s, position %d: %s", self._spec.name, meta.position, cause)
        await self._respond(held, b"+TERM " + cause[:200].replace("\n", " ").encode("utf-8", "replace"))
        return "dead_lettered"

    async def _nak(self, held: _Held) -> str:
        """Have the message delivered again after a delay that grows with its deliveries, jittered."""
        delay_s = min(_NAK_MAX_S, _NAK_FIRST_S * 2 ** min(held.meta.delivered - 1, 10)) * random.uniform(0.5, 1.0)
        await self._respond(held, b'-NAK {"delay": %d}' % int(delay_s * _NS))
        return "requeued"

    async def _respond(self, held: _Held, acknowledgement: bytes) -> None:
        """Acknowledge the newest delivery of a message, also one that arrives meanwhile."""
        answered: Message | None = None
        while answered is not held.message:
            answered = held.message
            with contextlib.suppress(NotReachableError):  # without an acknowledgement the server delivers it again
                await self._connection.publish(answered.reply, acknowledgement)

    async def _renew(self) -> None:
        """Send in-progress acknowledgements for held messages: only a dead process lets its lease run out."""
        loop = asyncio.get_running_loop()
        renewed_at = loop.time()
        while True:
            await asyncio.sleep(min(self._spec.ack_wait_s / 3, _RENEW_S))
            late_s = loop.time() - renewed_at
            for held in list(self._held.values()):
                await self._respond(held, b"+WPI")
            renewed_at = loop.time()
            if late_s > min(_STALL_S, self._spec.ack_wait_s) and self._held:
                lapsed = "lease_lapsed" if late_s > self._spec.ack_wait_s else "renewals_late"
                _log.warning("%s: %s: no renewal for %.1f s", lapsed, self._spec.name, late_s)
                self._on_stall()
            self._top_up()  # also after a time in which no work was taken


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def lane_of(subject: str) -> str:
    """Return the key within which messages are handled in order: run id, or aggregate id of other categories."""
    parts = subject.split(".", 4)
    if len(parts) < 5:  # not a subject of ours; the handler says so
        return subject
    return parts[3] if parts[1] == "events" or subject.startswith("syntor.timers.fired.") else subject
