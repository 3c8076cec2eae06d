"""Streams the text of a model call to the log in few events."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

FLUSH_INTERVAL_S = 0.04  # a reader sees no difference; a fast model writes ten times fewer events

WriteDelta = Callable[[int, int, str], Awaitable[None]]
"""Writes one delta: number of the model call, index within it, text."""


class DeltaWriter:
    """Joins pieces of text and writes them in order, at most one write in flight."""

    def __init__(self, write: WriteDelta) -> None:
        self._write = write
        self._call = 0
        self._index = 0
        self._pending: list[str] = []
        self._pieces: list[str] = []
        self._flushing: asyncio.Task[None] | None = None
        self._finishing = asyncio.Event()

    @property
    def text(self) -> str:
        """All text of the current call so far."""
        return "".join(self._pieces)

    def begin(self, call: int) -> None:
        """Start a call's text."""
        self._call, self._index = call, 0
        self._pending, self._pieces = [], []
        self._finishing.clear()

    def add(self, text: str) -> None:
        """Add a piece of text; the first is written immediately."""
        self._pending.append(text)
        self._pieces.append(text)
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())

    async def finish(self) -> None:
        """Write what is pending, and wait until everything is stored; a caller that is cancelled ends no write."""
        self._finishing.set()
        if self._flushing is not None:
            await asyncio.shield(self._flushing)
            self._flushing = None

    async def _flush(self) -> None:
        while self._pending:
            text, self._pending = "".join(self._pending), []
            index, self._index = self._index, self._index + 1
            await self._write(self._call, index, text)
            if not self._finishing.is_set():
                try:
                    await asyncio.wait_for(self._finishing.wait(), FLUSH_INTERVAL_S)
                except TimeoutError:
                    continue
