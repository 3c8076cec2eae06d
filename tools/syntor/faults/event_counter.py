"""Counts the events of a log as they are appended."""

from __future__ import annotations

import asyncio
import threading

from syntor.contracts.events import TERMINAL_RUN_TYPES
from syntor.contracts.subjects import ALL_EVENTS
from syntor.jetstream.access import Access
from syntor.jetstream.connection import connect
from syntor.jetstream.tail import Tail


class EventCounter:
    """Counts the events appended to the log, in its own thread; resumes when NATS is available again."""

    def __init__(self, nats_url: str, access: Access) -> None:
        self.count = 0
        self.ended = 0
        """Terminal events of runs."""
        self._url, self._access = nats_url, access
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop counting."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        connection = await connect(self._url, "syntor/faults", access=self._access)
        counting = asyncio.create_task(self._read(Tail(connection, [ALL_EVENTS], after=0)))
        await self._stop.wait()
        counting.cancel()
        await asyncio.gather(counting, return_exceptions=True)
        await connection.close()

    async def _read(self, tail: Tail) -> None:
        async for batch in tail.batches():
            self.count += len(batch)
            self.ended += sum(event.subject.rpartition(".")[2] in TERMINAL_RUN_TYPES for event in batch)
