"""A pull consumer of the simulated server: delivery to waiting requests, leases, redelivery, heartbeats."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from syntor.testing.simulation.matching import matches_any
from syntor.testing.simulation.stream import SimulatedStream, Stored

_NS = 1_000_000_000
_DEFAULT_ACK_WAIT_S = 30.0
_DEFAULT_INACTIVE_S = 5.0  # of a consumer without a durable name
_EXTRA_S = 1e-6


class Scheduler(Protocol):
    """Where a consumer's timers run."""

    def time(self) -> float:
        """Return the loop's time."""
        ...

    def call_at(self, when: float, callback: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        """Call something at a time."""
        ...


class Waiting(msgspec.Struct):
    """A pull request that waits for messages."""

    inbox: str
    left: int
    expires_at: float
    heartbeat_s: float
    heard_at: float
    """When something was last sent for it."""


class Pending(msgspec.Struct):
    """A message that was delivered and is not acknowledged."""

    deadline: float
    sequence: int
    """Its newest delivery within the consumer."""
    delivered: int


class SimulatedConsumer:
    """One pull consumer."""

    def __init__(
        self,
        stream: SimulatedStream,
        name: str,
        config: dict[str, Any],
        scheduler: Scheduler,
        send: Callable[[str, Stored | None, str, dict[str, str]], bool],
        on_inactive: Callable[[], None],
        wall_ns: Callable[[], int],
    ) -> None:
        """Start before the first message of its start policy.

        Args:
            send: sends a message, or a status without one, to an inbox with a reply subject; returns False when
                no client listens there.
            on_inactive: called when nothing has requested messages for its inactivity threshold.
        """
        self.stream = stream
        self.name = name
        self.config = config
        self._matches = matches_any(tuple(_filters(config)))
        self.sequence = 0
        """Number of deliveries."""
        self.next = self._start()
        """Stream position after the last one it has looked at."""
        self.pending: dict[int, Pending] = {}
        self.waiting: list[Waiting] = []
        self._redeliver: list[int] = []
        self._delivered: dict[int, int] = {}
        self.renews_leases = True
        """False: a defect is simulated, in-progress acknowledgements are ignored."""
        self._scheduler = scheduler
        self._send = send
        self._on_inactive = on_inactive
        self._wall_ns = wall_ns
        self._explicit = config.get("ack_policy", "explicit") == "explicit"
        self._ack_wait_s = (config.get("ack_wait") or _DEFAULT_ACK_WAIT_S * _NS) / _NS
        self._inactive_s = (config.get("inactive_threshold") or 0) / _NS
        if not config.get("durable_name") and not self._inactive_s:
            self._inactive_s = _DEFAULT_INACTIVE_S
        self._used_at = scheduler.time()
        self._alarm: asyncio.TimerHandle | None = None
        self._set_alarm()

    def _start(self) -> int:
        match self.config.get("deliver_policy", "all"):
            case "new":
                return self.stream.last + 1
            case "by_start_sequence":
                return int(self.config["opt_start_seq"])
            case _:
                return 1

    # state

    @property
    def ack_floor(self) -> int:
        """Stream position up to which everything is acknowledged."""
        return min(self.pending) - 1 if self.pending else self.next - 1

    @property
    def redelivered(self) -> int:
        """Pending messages that were delivered more than once."""
        return sum(pending.delivered > 1 for pending in self.pending.values())

    def undelivered(self) -> int:
        """Return how many matching messages were not delivered yet."""
        messages, matches = self.stream.messages, self._matches
        return sum(
            1
            for seq in range(self.next, self.stream.last + 1)
            if (stored := messages.get(seq)) is not None and matches(stored.subject)
        )

    # requests and acknowledgements

    def pull(self, inbox: str, body: dict[str, Any]) -> None:
        """Take a pull request."""
        now = self._scheduler.time()
        self._used_at = now
        expires = body.get("expires")
        request = Waiting(
            inbox=inbox,
            left=int(body.get("batch") or 1),
            expires_at=now + expires / _NS if expires else float("inf"),
            heartbeat_s=(body.get("idle_heartbeat") or 0) / _NS,
            heard_at=now,
        )
        self.waiting.append(request)
        self.deliver()
        if body.get("no_wait") and request in self.waiting:
            self.waiting.remove(request)
            self._send(inbox, None, "", {"Status": "404", "Description": "No Messages"})
        self._set_alarm()

    def forget(self, is_gone: Callable[[str], bool]) -> None:
        """Drop the requests whose client is gone."""
        self.waiting = [request for request in self.waiting if not is_gone(request.inbox)]

    def acknowledge(self, seq: int, consumer_seq: int, kind: bytes) -> None:
        """Take an acknowledgement of any kind."""
        pending = self.pending.get(seq)
        if pending is None:
            return
        if kind.startswith(b"-NAK"):
            if consumer_seq > self.sequence:
                return
            delay = _nak_delay_s(kind)
            if delay:
                pending.deadline = self._scheduler.time() + delay
                self._set_alarm()
            elif seq not in self._redeliver:
                self._redeliver.append(seq)
                self.deliver()
        elif kind.startswith(b"+WPI"):
            if self.renews_leases:
                pending.deadline = self._scheduler.time() + self._ack_wait_s
        elif not kind or kind.startswith((b"+ACK", b"+TERM")):
            del self.pending[seq]
            self._delivered.pop(seq, None)
            if seq in self._redeliver:
                self._redeliver.remove(seq)
            self.deliver()

    # delivery

    def deliver(self) -> None:
        """Send what can be sent to the requests that wait."""
        ahead: int | None = None
        while self.waiting:
            seq = self._take()
            if seq is None:
                return
            if ahead is None:
                ahead = self.undelivered()
            ahead = self._deliver_one(seq, ahead)
        self._set_alarm()

    def _take(self) -> int | None:
        """Return the next position to deliver: of a redelivery, or a new one while few enough are pending."""
        while self._redeliver:
            seq = self._redeliver[0]
            if seq in self.pending and seq in self.stream.messages:
                return seq
            self._redeliver.pop(0)
            self.pending.pop(seq, None)
        limit = int(self.config.get("max_ack_pending") or 1000)
        if self._explicit and len(self.pending) >= limit > 0:
            return None
        messages = self.stream.messages
        while self.next <= self.stream.last:
            stored = messages.get(self.next)
            if stored is not None and self._matches(stored.subject):
                return self.next
            self.next += 1
        return None

    def _deliver_one(self, seq: int, ahead: int) -> int:
        """Send one message to the first request, and return how many are undelivered after it.

        Args:
            ahead: how many are undelivered before it.
        """
        stored = self.stream.messages[seq]
        request = self.waiting.pop(0)
        delivered = self._delivered.get(seq, 0) + 1
        left = ahead if seq < self.next else ahead - 1
        reply = (
            f"$JS.ACK.{self.stream.name}.{self.name}.{delivered}.{seq}.{self.sequence + 1}.{stored.timestamp_ns}.{left}"
        )
        if not self._send(request.inbox, stored, reply, stored.headers):
            return ahead  # the request's client is gone: another request gets the message
        self.next = max(self.next, seq + 1)
        now = self._scheduler.time()
        self.sequence += 1
        if seq in self._redeliver:
            self._redeliver.remove(seq)
        if self._explicit:
            self._delivered[seq] = delivered
            self.pending[seq] = Pending(now + self._ack_wait_s, self.sequence, delivered)
            self._set_alarm()
        request.left -= 1
        request.heard_at = now
        if request.left:
            self.waiting.append(request)
        return left

    # time

    def _set_alarm(self) -> None:
        """Wake up at the next deadline of a lease, a request, a heartbeat, or inactivity."""
        due = [pending.deadline for pending in self.pending.values()]
        for request in self.waiting:
            due.append(request.expires_at)
            if request.heartbeat_s:
                due.append(request.heard_at + request.heartbeat_s)
        if self._inactive_s and not self.waiting:
            due.append(self._used_at + self._inactive_s)
        if not due:
            return
        when = min(due)
        if self._alarm is not None:
            if not self._alarm.cancelled() and self._alarm.when() <= when:
                return
            self._alarm.cancel()
        self._alarm = self._scheduler.call_at(when + _EXTRA_S, self._on_alarm)

    def _on_alarm(self) -> None:
        self._alarm = None
        now = self._scheduler.time()
        for seq, pending in list(self.pending.items()):
            if pending.deadline <= now:
                pending.deadline = float("inf")  # until it is delivered again
                if seq not in self._redeliver:
                    self._redeliver.append(seq)
        for request in list(self.waiting):
            if request.expires_at <= now:
                self.waiting.remove(request)
                self._used_at = now
                headers = {
                    "Status": "408",
                    "Description": "Request Timeout",
                    "Nats-Pending-Messages": str(request.left),
                }
                self._send(request.inbox, None, "", headers | {"Nats-Pending-Bytes": "0"})
            elif request.heartbeat_s and request.heard_at + request.heartbeat_s <= now:
                request.heard_at = now
                headers = {"Status": "100", "Description": "Idle Heartbeat"}
                headers |= {"Nats-Last-Consumer": str(self.sequence), "Nats-Last-Stream": str(self.next - 1)}
                if not self._send(request.inbox, None, "", headers):
                    self.waiting.remove(request)
        self.deliver()
        if self._inactive_s and not self.waiting and self._used_at + self._inactive_s <= now:
            self._on_inactive()
            return
        self._set_alarm()

    def stop(self, *, status: str = "") -> None:
        """End it; requests that wait get a status, or nothing when the server dies."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        for request in self.waiting:
            if status:
                self._send(request.inbox, None, "", {"Status": "409", "Description": status})
        self.waiting = []

    def restart(self) -> None:
        """Continue after a restart of the server: requests are lost, leases run on."""
        self.waiting = []
        now = self._scheduler.time()
        for pending in self.pending.values():
            if pending.deadline == float("inf"):
                pending.deadline = now
        self._redeliver = []
        self._set_alarm()


def _filters(config: dict[str, Any]) -> list[str]:
    single = config.get("filter_subject")
    return [single] if single else list(config.get("filter_subjects") or [])


def _nak_delay_s(kind: bytes) -> float:
    body = kind[4:].strip()
    return float(msgspec.json.decode(body, type=dict[str, Any]).get("delay", 0)) / _NS if body else 0.0
