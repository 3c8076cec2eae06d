"""Opens the database of the read model, and waits for one that cannot be opened now."""

from __future__ import annotations

import asyncio
import contextlib

from syntor.contracts.errors import InfrastructureError
from syntor.projections.projection import Projection
from syntor.projections.store import ReadModelStore
from syntor.runtime.health import Health
from syntor.runtime.telemetry import get_logger

_RETRY_S = (0.2, 5.0)  # first and longest pause, doubled each time


async def open_when_available(
    store: ReadModelStore, projection: Projection, health: Health, stopping: asyncio.Event
) -> bool:
    """Open a store; meanwhile readiness says why it cannot be opened. Return False when the process must stop first."""
    problem: str | None = None

    async def database() -> str | None:
        return problem

    health.add_check("database", database)
    pause_s = _RETRY_S[0]
    while not stopping.is_set():
        try:
            await store.open(projection)
        except InfrastructureError as exc:
            if problem != str(exc):
                problem = str(exc)
                get_logger().warning("database_unavailable", error=problem)
        else:
            problem = None
            return True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), pause_s)
        pause_s = min(pause_s * 2, _RETRY_S[1])
    return False
