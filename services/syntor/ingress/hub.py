"""Hands the messages of one tail to the clients that wait for them, in memory, by run id.

Only subjects are looked at, never payloads. Invariants: a listener gets every message of its run above the hub
position at which it was opened, in order, once; one that does not keep up is cut off and delays nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Protocol

from syntor.contracts.events import TERMINAL_RUN_TYPES
from syntor.contracts.subjects import RUN_CATEGORIES

MAX_PENDING_EVENTS = 1000  # a client that far behind reads the log instead
MAX_PENDING_BYTES = 4 * 1024 * 1024
SEEN_RUNS = 10_000  # runs whose newest position is remembered, for read-your-writes; 150 bytes each
_READ_MODEL_CATEGORIES = frozenset({"run", "task", "request"})  # what queries show; output changes no row


class Stored(Protocol):
    """A message of the log, undecoded: one of a tail or one read from the log."""

    @property
    def position(self) -> int:
        """Stream sequence."""
        ...

    @property
    def subject(self) -> str:
        """Subject it is stored under."""
        ...

    @property
    def payload(self) -> bytes:
        """Its envelope, JSON."""
        ...


class Listener:
    """What one client has still to be sent."""

    __slots__ = ("_closed", "_pending", "_size", "_wake", "opened_at", "overflowed")

    def __init__(self, opened_at: int) -> None:
        self.opened_at = opened_at
        """Hub position when it was opened: messages up to it are in the log, those above come here."""
        self.overflowed = False
        """True once it fell too far behind; it gets nothing more."""
        self._pending: list[Stored] = []
        self._size = 0
        self._closed = False
        self._wake: asyncio.Future[None] | None = None

    @property
    def closed(self) -> bool:
        """Whether nothing more will come: the client is gone, or the process stops."""
        return self._closed

    def offer(self, message: Stored) -> None:
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
        """Let `wait` return, whether or not there is anything."""
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def close(self) -> None:
        """End it; `wait` returns at once from now on."""
        self._closed = True
        self.wake()

    async def wait(self) -> None:
        """Wait until there is something to take, it is over, or somebody called `wake`."""
        if self._pending or self._closed or self.overflowed:
            return
        self._wake = asyncio.get_running_loop().create_future()
        await self._wake
        self._wake = None

    def take(self) -> list[Stored]:
        """Return what is there, oldest first, and forget it."""
        taken, self._pending, self._size = self._pending, [], 0
        return taken


class Hub:
    """All listeners of this process, and how far the tail is."""

    def __init__(self, position: int) -> None:
        self.position = position
        """Position of the last message handed out, or where the tail began."""
        self.facts = 0
        """Position of the last message that changed what queries show; 0: none seen."""
        self._runs: dict[str, set[Listener]] = {}
        self._watchers: dict[Listener, tuple[str, ...]] = {}
        self._seen: dict[str, int] = {}
        self._open: set[str] = set()
        self._closed = False

    @property
    def listeners(self) -> int:
        """How many are open."""
        return len(self._watchers) + sum(len(group) for group in self._runs.values())

    @property
    def open_runs(self) -> int:
        """How many runs began since this process did, and have not ended."""
        return len(self._open)

    def seen(self, run_id: str) -> int:
        """Return the newest position known of a run; 0: none, or long ago."""
        return self._seen.get(run_id, 0)

    def note(self, run_id: str, position: int) -> None:
        """Remember a position of a run, for what this process appended before the tail brings it."""
        if position > self._seen.get(run_id, 0):
            self._seen[run_id] = position
            if len(self._seen) > SEEN_RUNS:
                del self._seen[next(iter(self._seen))]
        self.facts = max(self.facts, position)

    def began(self, run_id: str, position: int) -> None:
        """Remember a run this process appended the first event of."""
        if position > self.position:  # else the tail brought it, and perhaps its end
            self._open.add(run_id)
        self.note(run_id, position)

    def open_run(self, run_id: str) -> Listener:
        """Open a listener for everything about one run."""
        listener = self._new()
        self._runs.setdefault(run_id, set()).add(listener)
        return listener

    def open_filter(self, filter_subject: str) -> Listener:
        """Open a listener for all subjects that match a filter."""
        listener = self._new()
        self._watchers[listener] = tuple(filter_subject.split("."))
        return listener

    def drop(self, listener: Listener, run_id: str = "") -> None:
        """Forget a listener; `run_id` is that of `open_run`."""
        self._watchers.pop(listener, None)
        if (group := self._runs.get(run_id)) is not None:
            group.discard(listener)
            if not group:
                del self._runs[run_id]

    def feed(self, batch: Iterable[Stored]) -> None:
        """Hand out messages of the tail, oldest first."""
        for message in batch:
            tokens = message.subject.split(".")
            category, key = tokens[2], tokens[3]
            if category in RUN_CATEGORIES:
                group = self._runs.get(key)
                if group is not None:
                    for listener in group:
                        listener.offer(message)
                if category in _READ_MODEL_CATEGORIES:
                    self.note(key, message.position)
                if category == "run":
                    self._count(key, tokens[4])
            if self._watchers:
                for listener, wanted in self._watchers.items():
                    if _matches(wanted, tokens):
                        listener.offer(message)
            self.position = message.position

    def close(self) -> None:
        """End all listeners, and those opened from now on."""
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
