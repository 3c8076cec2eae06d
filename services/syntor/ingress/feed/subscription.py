"""Catch-up subscription: the backlog from the log, then live messages from the hub; each once, in order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from syntor.contracts.subjects import RUN_CATEGORIES
from syntor.eventsourcing.store import RawEvent
from syntor.ingress.feed.hub import Hub, Listener

CHUNK_EVENTS = 128  # messages of the backlog in one chunk
CHUNK_BYTES = 256 * 1024
NEAR_EVENTS = 256  # with fewer left to read, the listener is opened; it holds what arrives meanwhile


class History(Protocol):
    """Reads stored messages without decoding them; `JetStreamStore.load_raw`."""

    def __call__(self, filter_subject: str, after: int, up_to: int | None) -> AsyncIterator[RawEvent]:
        """Yield matching messages with `after < position <= up_to`, oldest first."""
        ...


async def only_of_runs(messages: AsyncIterator[RawEvent]) -> AsyncIterator[RawEvent]:
    """Yield all but messages of sessions and agents whose id equals that of the run."""
    async for message in messages:
        if message.subject.split(".", 3)[2] in RUN_CATEGORIES:
            yield message


async def read_chunks(messages: AsyncIterator[RawEvent]) -> AsyncIterator[list[RawEvent]]:
    """Yield messages in chunks, each sent in one write."""
    chunk: list[RawEvent] = []
    size = 0
    async for message in messages:
        chunk.append(message)
        size += len(message.payload)
        if len(chunk) >= CHUNK_EVENTS or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


class Subscription:
    """A catch-up subscription of one client."""

    def __init__(self, hub: Hub, history: History, filter_subject: str, *, run_id: str = "", after: int = 0) -> None:
        """Prepare; nothing is read or opened yet.

        Args:
            run_id: the run, where the filter matches everything about one; empty: any other filter.
            after: position after which to begin.
        """
        self.position = after
        """Position up to which everything that matches was returned."""
        self.listener: Listener | None = None
        """Listener of the hub; None while the subscription catches up."""
        self._hub = hub
        self._history = history
        self._filter = filter_subject
        self._run_id = run_id

    def go_live(self) -> None:
        """Open the listener now and skip the backlog; for a run that is appended afterwards."""
        self.listener = self._open()

    async def backlog(self) -> AsyncIterator[list[RawEvent]]:
        """Yield what the log holds, in chunks; `drain` continues without a gap.

        Raises:
            InfrastructureError: the log could not be read; what was yielded remains valid.
        """
        while self.listener is None:
            target = self._hub.position
            count = 0
            async for chunk in self._read(target):
                count += len(chunk)
                yield chunk
            if count < NEAR_EVENTS:
                self.listener = self._open()
        async for chunk in self._read(self.listener.opened_at):
            yield chunk

    def drain(self) -> list[RawEvent]:
        """Return the live messages that have arrived; those of the backlog are left out."""
        assert self.listener is not None, "the backlog comes first"
        messages = self.listener.take()
        if messages and messages[0].position <= self.position:
            messages = [message for message in messages if message.position > self.position]
        if messages:
            self.position = messages[-1].position
        return messages

    def close(self) -> None:
        """Remove the listener from the hub."""
        if self.listener is not None:
            self._hub.drop(self.listener, self._run_id)

    def _open(self) -> Listener:
        return self._hub.open_run(self._run_id) if self._run_id else self._hub.open_filter(self._filter)

    async def _read(self, target: int) -> AsyncIterator[list[RawEvent]]:
        if target <= self.position:
            return
        messages = self._history(self._filter, self.position, target)
        async for chunk in read_chunks(only_of_runs(messages) if self._run_id else messages):
            self.position = chunk[-1].position
            yield chunk
        self.position = target
