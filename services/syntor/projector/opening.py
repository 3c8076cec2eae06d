"""Opens the database of the read model: waits for one that cannot be opened now, starts over where it is damaged."""

from __future__ import annotations

import asyncio
import contextlib

from syntor.contracts.errors import InfrastructureError
from syntor.projections.projection import Projection
from syntor.projections.store import DamagedError, ReadModelStore
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
            await _open(store, projection)
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


async def _open(store: ReadModelStore, projection: Projection) -> None:
    try:
        await store.open(projection)
    except DamagedError as exc:
        await start_over(store, exc)


async def start_over(store: ReadModelStore, damage: DamagedError) -> None:
    """Replace a damaged read model by an empty one, which the log fills again.

    Raises:
        InfrastructureError: it cannot be replaced.
    """
    done = await store.start_over()
    get_logger().error("read_model_damaged", error=str(damage), done=done, next="rebuilt from the log")
