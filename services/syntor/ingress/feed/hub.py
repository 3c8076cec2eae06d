"""Fans out the messages of one ordered consumer to listeners, in memory, by run id.

Only subjects are read, never payloads. Invariants: a listener receives every message of its run above the hub position
at which it was opened, in order, once; a slow one overflows and delays no other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from syntor.contracts.events import TERMINAL_RUN_TYPES
from syntor.contracts.subjects import RUN_CATEGORIES
from syntor.eventsourcing.store import RawEvent

MAX_PENDING_EVENTS = 1000  # a client with more pending messages reads the log instead
MAX_PENDING_BYTES = 4 * 1024 * 1024
KNOWN_RUNS = 10_000  # runs whose last position is kept, for read-your-writes; 150 bytes each
_READ_MODEL_CATEGORIES = frozenset({"run", "task", "request"})  # output changes no row of the read model


class Listener:
    """The messages one client has not been sent yet."""

    __slots__ = ("_closed", "_pending", "_size", "_wake", "opened_at", "overflowed")

    def __init__(self, opened_at: int) -> None:
        self.opened_at = opened_at
        """Hub position when it was opened: messages up to it are read from the log, later ones arrive here."""
        self.overflowed = False
        """True once it fell too far behind; it receives nothing more."""
        self._pending: list[RawEvent] = []
        self._size = 0
        self._closed = False
        self._wake: asyncio.Future[None] | None = None

    @property
    def closed(self) -> bool:
        """Whether nothing more will arrive: the client disconnected, or the process is stopping."""
        return self._closed

    def offer(self, message: RawEvent) -> None:
        """Add a message; over the limit everything is dropped and `overflowed` set."""
        if self.overflowed:
            return
        self._pending.append(message)
        self._size += len(message.payload)
        if len(self._pending) > MAX_PENDING_EVENTS or self._size > MAX_PENDING_BYTES:
            self.overflowed = True
            self._pending = []
        self.wake()

    def wake(self) -> None:
        """Let `wait` return, whether or not a message arrived."""
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def close(self) -> None:
        """End it; `wait` returns immediately from now on."""
        self._closed = True
        self.wake()

    async def wait(self) -> None:
        """Wait until a message arrives, the listener closes or overflows, or `wake` is called."""
        if self._pending or self._closed or self.overflowed:
            return
        self._wake = asyncio.get_running_loop().create_future()
        await self._wake
        self._wake = None

    def take(self) -> list[RawEvent]:
        """Remove and return the pending messages, oldest first."""
        messages, self._pending, self._size = self._pending, [], 0
        return messages


class Hub:
    """All listeners of this process, and the positions the ordered consumer has reached."""

    def __init__(self, position: int) -> None:
        self.position = position
        """Position of the last message fed, or where the consumer began: the end of the log at that time."""
        self.read_model_position = position
        """Position of the last message that changed the read model, or where the consumer began."""
        self._runs: dict[str, set[Listener]] = {}
        self._watchers: dict[Listener, tuple[str, ...]] = {}
        self._positions: dict[str, int] = {}
        self._others = position
        """Position no run outside `_positions` is beyond."""
        self._open: set[str] = set()
        self._ended: set[str] | None = None
        """Runs that ended while those that were open before are read; None: they are not being read."""
        self._closed = False

    @property
    def listeners(self) -> int:
        """Number of open listeners."""
        return len(self._watchers) + sum(len(group) for group in self._runs.values())

    @property
    def open_runs(self) -> int:
        """Number of runs that have not ended."""
        return len(self._open)

    def run_position(self, run_id: str) -> int:
        """Return the position of a run's last message; of one not known (any more), a later position."""
        return self._positions.get(run_id, self._others)

    def await_open(self) -> None:
        """Expect `record_open`; called before the consumer delivers anything."""
        self._ended = set()

    def record_open(self, run_ids: set[str]) -> None:
        """Record the runs that had not ended when they were read, after the position where the consumer begins."""
        self._open |= run_ids - (self._ended or set())
        self._ended = None

    def record_position(self, run_id: str, position: int) -> None:
        """Record a position of a run; a writer calls this before the consumer delivers what it appended."""
        if position > self._positions.get(run_id, 0):
            self._positions[run_id] = position
            if len(self._positions) > KNOWN_RUNS:
                self._others = max(self._others, self._positions.pop(next(iter(self._positions))))
        self.read_model_position = max(self.read_model_position, position)

    def record_run(self, run_id: str, position: int) -> None:
        """Record a run whose first event this process appended."""
        if position > self.position:  # else the consumer delivered it already, and perhaps its end
            self._open.add(run_id)
        self.record_position(run_id, position)

    def open_run(self, run_id: str) -> Listener:
        """Open a listener for all messages of one run."""
        listener = self._new()
        self._runs.setdefault(run_id, set()).add(listener)
        return listener

    def open_filter(self, filter_subject: str) -> Listener:
        """Open a listener for all messages whose subject matches a filter."""
        listener = self._new()
        self._watchers[listener] = tuple(filter_subject.split("."))
        return listener

    def drop(self, listener: Listener, run_id: str = "") -> None:
        """Remove a listener; `run_id` is that of `open_run`."""
        self._watchers.pop(listener, None)
        if (group := self._runs.get(run_id)) is not None:
            group.discard(listener)
            if not group:
                del self._runs[run_id]

    def feed(self, batch: Iterable[RawEvent]) -> None:
        """Distribute messages to the listeners, oldest first."""
        for message in batch:
            tokens = message.subject.split(".")
            category, key = (tokens[2], tokens[3]) if len(tokens) > 4 else ("", "")  # else no event of ours
            if category in RUN_CATEGORIES:
                group = self._runs.get(key)
                if group is not None:
                    for listener in group:
                        listener.offer(message)
                if category in _READ_MODEL_CATEGORIES:
                    self.record_position(key, message.position)
                if category == "run":
                    self._count(key, tokens[4])
            if self._watchers:
                for listener, wanted in self._watchers.items():
                    if _matches(wanted, tokens):
                        listener.offer(message)
            self.position = message.position

    def close(self) -> None:
        """Close all listeners, and those opened from now on."""
        self._closed = True
        for group in self._runs.values():
            for listener in group:
                listener.close()
        for listener in self._watchers:
            listener.close()

    def _count(self, run_id: str, type_: str) -> None:
        if type_ == "user_input":
            self._open.add(run_id)
        elif type_ in TERMINAL_RUN_TYPES:
            self._open.discard(run_id)
            if self._ended is not None:
                self._ended.add(run_id)

    def _new(self) -> Listener:
        listener = Listener(self.position)
        if self._closed:
            listener.close()
        return listener


def _matches(wanted: tuple[str, ...], tokens: list[str]) -> bool:
    for number, token in enumerate(wanted):
        if token == ">":
            return len(tokens) > number
        if number >= len(tokens) or token not in ("*", tokens[number]):
            return False
    return len(wanted) == len(tokens)
