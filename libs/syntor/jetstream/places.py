"""How many messages a process handles at a time; a handler that only waits for others may lend its place.

Without that, handlers that wait for something which messages of a dead instance hold (a reservation in a budget) could
occupy every place those messages need to be handled again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextvars import ContextVar

_place: ContextVar[_Place | None] = ContextVar("place", default=None)


class Places:
    """The places of one consumer in this process."""

    def __init__(self, size: int) -> None:
        self._free = asyncio.Semaphore(size)
        self.lent = 0
        """Number of handlers that began and wait without a place."""

    @contextlib.asynccontextmanager
    async def taken(self) -> AsyncGenerator[None, None]:
        """Hold a place while a handler runs; waits for a free one."""
        place = _Place(self, self._free)
        await place.take()
        token = _place.set(place)
        try:
            yield
        finally:
            _place.reset(token)
            place.release()


class _Place:
    def __init__(self, places: Places, free: asyncio.Semaphore) -> None:
        self.places = places
        self._free = free
        self.held = False

    async def take(self) -> None:
        await self._free.acquire()
        self.held = True

    def release(self) -> None:
        if self.held:
            self.held = False
            self._free.release()


@contextlib.asynccontextmanager
async def lent() -> AsyncGenerator[None, None]:
    """Lend the place of the message that is being handled, and take one again; no effect outside a handler."""
    place = _place.get()
    if place is None or not place.held:
        yield
        return
    place.release()
    place.places.lent += 1
    try:
        yield
        await place.take()
    finally:
        place.places.lent -= 1
