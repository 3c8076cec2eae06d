"""Measures how late the event loop of a process runs what is due: it is blocked, stopped, or short of CPU."""

from __future__ import annotations

import asyncio
from collections import deque

from syntor.metrics import Gauge
from syntor.runtime.telemetry import get_logger

INTERVAL_S = 0.25
_WINDOW = 60  # measurements a scrape sees: the last 15 s
_LOGGED_S = 1.0
_LAG = Gauge("syntor_event_loop_lag_seconds", "Longest delay of the event loop within the last 15 seconds")


class LoopLag:
    """The lag of this process's event loop; `run` measures it."""

    def __init__(self) -> None:
        self.last_s = 0.0
        """Newest measurement, in seconds."""
        self._window: deque[float] = deque(maxlen=_WINDOW)

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            await self.measure()

    async def measure(self) -> None:
        """Measure once, which takes a quarter of a second."""
        loop = asyncio.get_running_loop()
        due = loop.time() + INTERVAL_S
        await asyncio.sleep(INTERVAL_S)
        self.record(loop.time() - due)

    def record(self, lag_s: float) -> None:
        """Record one measurement."""
        self.last_s = max(0.0, lag_s)
        self._window.append(self.last_s)
        _LAG.labels().set(max(self._window))
        if self.last_s > _LOGGED_S:
            get_logger().warning("event_loop_late", lag_s=round(self.last_s, 2))

    def allows_work(self, lease_s: float) -> bool:
        """Return whether new work is safe: the last lag was shorter than the lease of what this process would take."""
        if self.last_s <= lease_s:
            return True
        get_logger().warning("no_work_taken", lag_s=round(self.last_s, 2), lease_s=lease_s)
        return False
