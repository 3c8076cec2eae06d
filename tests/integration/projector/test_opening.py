"""A database that cannot be opened is waited for; readiness says why, and a stop ends the wait."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from syntor.projections.sqlite import SqliteStore
from syntor.projector.domain.read_model import ReadModel
from syntor.projector.opening import open_when_available
from syntor.runtime.health import Health

DEADLINE_S = 20.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Path of a database, whose folder cannot be created."""
    (tmp_path / "data").touch()
    return tmp_path / "data" / "readmodel.db"


async def _said(health: Health) -> str:
    async with asyncio.timeout(DEADLINE_S):
        while not (problem := (await health.results()).get("database")):  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # a readiness check has nothing to wait for
    return problem


async def test_a_database_is_opened_once_it_can_be(path: Path) -> None:
    store, health = SqliteStore(str(path)), Health()
    opening = asyncio.create_task(open_when_available(store, ReadModel(), health, asyncio.Event()))
    assert str(path) in await _said(health)
    threads = threading.active_count()
    path.parent.unlink()
    assert await asyncio.wait_for(opening, DEADLINE_S)
    assert (await health.results())["database"] is None
    assert (await store.checkpoint()).position == 0
    await store.close()
    async with asyncio.timeout(
        DEADLINE_S
    ):  # each attempt that failed ended its own; the last one ends just after `close`
        while threading.active_count() > threads:  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # a thread has nothing to wait for


async def test_a_stop_ends_the_wait(path: Path) -> None:
    stopping, health = asyncio.Event(), Health()
    opening = asyncio.create_task(open_when_available(SqliteStore(str(path)), ReadModel(), health, stopping))
    await _said(health)
    stopping.set()
    assert not await asyncio.wait_for(opening, DEADLINE_S)
