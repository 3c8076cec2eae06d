"""Joins the log's past with the hub's present: every message once, in order, from any position on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from syntor.contracts.subjects import RUN_CATEGORIES
from syntor.ingress.hub import Hub, Listener, Stored

CHUNK_EVENTS = 128  # messages of the past handed on at once
CHUNK_BYTES = 256 * 1024
NEAR_EVENTS = 256  # with fewer left to read, the listener is opened; it holds what comes meanwhile


class History(Protocol):
    """Reads stored messages without decoding them; `JetStreamStore.load_raw`."""

    def __call__(self, filter_subject: str, after: int, up_to: int | None) -> AsyncIterator[Stored]:
        """Yield matching messages with `after < position <= up_to`, oldest first."""
        ...


async def only_of_runs(messages: AsyncIterator[Stored]) -> AsyncIterator[Stored]:
    """Leave out messages of sessions and agents whose id happens to be that of the run."""
    async for message in messages:
        if message.subject.split(".", 3)[2] in RUN_CATEGORIES:
            yield message


async def read_chunks(messages: AsyncIterator[Stored]) -> AsyncIterator[list[Stored]]:
    """Yield messages in groups of a size worth one write."""
    chunk: list[Stored] = []
    size = 0
    async for message in messages:
        chunk.append(message)
        size += len(message.payload)
        if len(chunk) >= CHUNK_EVENTS or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


class Following:
    """One client's way through the log."""

    def __init__(self, hub: Hub, history: History, filter_subject: str, *, run_id: str = "", after: int = 0) -> None:
        """Prepare to follow a filter.

        Args:
            run_id: the run whose everything the filter is; empty: any filter.
            after: position behind which to begin.
        """
        self.position = after
        """Position up to which everything that matches was handed out."""
        self.listener: Listener | None = None
        """Set once the present is reached."""
        self._hub = hub
        self._history = history
        self._filter = filter_subject
        self._run_id = run_id

    def begin_live(self) -> None:
        """Open the listener now: for what does not exist yet, before it is appended."""
        self.listener = self._open()

    async def past(self) -> AsyncIterator[list[Stored]]:
        """Yield what the log holds, in chunks; afterwards `live` goes on without a gap.

        Raises:
            InfrastructureError: the log could not be read; what was handed out stands.
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

    def take(self) -> list[Stored]:
        """Return what has come since; messages the past had already are left out."""
        assert self.listener is not None, "the past comes first"
        taken = self.listener.take()
        if taken and taken[0].position <= self.position:
            taken = [message for message in taken if message.position > self.position]
        if taken:
            self.position = taken[-1].position
        return taken

    def close(self) -> None:
        """Stop listening."""
        if self.listener is not None:
            self._hub.drop(self.listener, self._run_id)

    def _open(self) -> Listener:
        return self._hub.open_run(self._run_id) if self._run_id else self._hub.open_filter(self._filter)

    async def _read(self, target: int) -> AsyncIterator[list[Stored]]:
        if target <= self.position:
            return
        messages = self._history(self._filter, self.position, target)
        async for chunk in read_chunks(only_of_runs(messages) if self._run_id else messages):
            self.position = chunk[-1].position
            yield chunk
        self.position = target
