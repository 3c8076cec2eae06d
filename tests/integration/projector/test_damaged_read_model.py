"""A damaged SQLite read model is set aside, kept, and made anew; what only cannot be used now is not."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from syntor.contracts.errors import InfrastructureError
from syntor.projections.projection import RowKey
from syntor.projections.sqlite import SqliteStore
from syntor.projections.store import Checkpoint, DamagedError
from syntor.projector.domain.read_model import ReadModel
from syntor.projector.opening import open_when_available
from syntor.runtime.health import Health
from syntor.runtime.set_aside import found_aside

DEADLINE_S = 20.0


async def _filled(path: Path) -> None:
    """Write a read model of many pages."""
    store = SqliteStore(str(path))
    await store.open(ReadModel())
    rows: dict[RowKey, dict[str, object]] = {}
    for number in range(300):
        values = {"agent_id": str(number), "name": "x" * 200, "profile": "{}", "status": "idle", "health": "unknown"}
        rows["agents", str(number)] = {**values, "registered_at": "2026-11-21T00:00:00.000000Z", "position": number}
    await store.commit(0, Checkpoint(300), rows)
    await store.close()


def _noise(path: Path, start: int, end: int) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(random.Random(7).randbytes(end - start))


def _sql(statement: str) -> Callable[[Path], None]:
    def run(path: Path) -> None:
        database = sqlite3.connect(path)
        database.executescript(statement)
        database.close()

    return run


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "kept").write_text("of a user")


def _folder_as_wal(path: Path) -> None:
    path.with_name(path.name + "-wal").mkdir()


def _dangling_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/nowhere/at/all")


def _written(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


def _other_database(path: Path) -> None:
    path.unlink()
    _sql("CREATE TABLE runs (id INTEGER PRIMARY KEY, distance REAL); CREATE TABLE shoes (id)")(path)


DAMAGE: dict[str, Callable[[Path], None]] = {
    "noise at the start": lambda path: _noise(path, 0, 20_000),
    "noise in the middle": lambda path: _noise(path, 20_000, 40_000),
    "noise only": _written(random.Random(7).randbytes(20_000)),
    "a text": _written(b"hello " * 300),
    "truncated": lambda path: os.truncate(path, 10_000),
    "cut within its head": lambda path: os.truncate(path, 60),
    "a folder": _folder,
    "a folder as its WAL": _folder_as_wal,
    "a dangling link": _dangling_link,
    "another database": _other_database,
    "a missing table": _sql("DROP TABLE messages"),
    "a missing column": _sql("ALTER TABLE messages DROP COLUMN content"),
    "another column": _sql("ALTER TABLE messages ADD COLUMN more TEXT NOT NULL DEFAULT ''"),
    "a view": _sql("DROP TABLE messages; CREATE VIEW messages AS SELECT 1"),
    "another state table": _sql("DROP TABLE projection_state; CREATE TABLE projection_state (x)"),
    "no state table": _sql("DROP TABLE projection_state"),
    "no checkpoint": _sql("DELETE FROM projection_state"),
    "a checkpoint of text": _sql("UPDATE projection_state SET position = 'far'"),
    "a checkpoint without hash": _sql("UPDATE projection_state SET log_hash = 'zz'"),
}


@pytest.mark.parametrize("damage", DAMAGE)
async def test_a_damaged_read_model_is_set_aside_and_one_without_rows_opened(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "readmodel.db"
    await _filled(path)
    DAMAGE[damage](path)
    store = SqliteStore(str(path))
    opening = open_when_available(store, ReadModel(), Health(), asyncio.Event())
    assert await asyncio.wait_for(opening, DEADLINE_S)
    assert await _usable(store)
    kept = found_aside(tmp_path)
    assert len(kept) == 1
    assert (kept[0] / "kept").exists() == (damage == "a folder")
    await store.close()


async def _usable(store: SqliteStore) -> bool:
    """Return whether the store is empty and holds rows."""
    assert (await store.checkpoint(), await store.fetch("SELECT * FROM agents")) == (Checkpoint(), [])
    await store.commit(0, Checkpoint(1), {})
    return (await store.checkpoint()).position == 1


@pytest.mark.parametrize("left", [b"", b"\0" * 5000, random.Random(7).randbytes(50_000)])
async def test_what_another_database_left_beside_it_changes_nothing(tmp_path: Path, left: bytes) -> None:
    path = tmp_path / "readmodel.db"
    await _filled(path)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).write_bytes(left)
    store = SqliteStore(str(path))
    await store.open(ReadModel())
    assert (await store.checkpoint()).position == 300
    assert found_aside(tmp_path) == []
    await store.close()


async def test_damage_that_a_query_meets_is_known_to_the_next_commit(tmp_path: Path) -> None:
    path = tmp_path / "readmodel.db"
    await _filled(path)
    store = SqliteStore(str(path))
    await store.open(ReadModel())
    _sql("DROP TABLE messages")(path)
    with pytest.raises(DamagedError, match="messages"):
        await store.fetch("SELECT * FROM messages")
    with pytest.raises(DamagedError, match="messages"):
        await store.commit(300, Checkpoint(301), {})
    await store.start_over()
    assert await _usable(store)
    assert len(found_aside(tmp_path)) == 1
    await store.close()


async def test_a_wrong_query_is_no_damage(tmp_path: Path) -> None:
    store = SqliteStore(str(tmp_path / "readmodel.db"))
    await store.open(ReadModel())
    with pytest.raises(InfrastructureError) as caught:
        await store.fetch("SELECT * FROM no_such_table")
    assert not isinstance(caught.value, DamagedError)
    assert (await store.checkpoint()).position == 0
    await store.close()


async def test_of_two_processes_the_second_opens_what_the_first_made(tmp_path: Path) -> None:
    path = tmp_path / "readmodel.db"
    await _filled(path)
    path.write_bytes(b"noise" * 4000)
    first, second = SqliteStore(str(path)), SqliteStore(str(path))
    for store in (first, second):
        with pytest.raises(DamagedError):
            await store.open(ReadModel())
    await first.start_over()
    await first.commit(0, Checkpoint(7), {})
    assert "already" in await second.start_over()
    assert (await second.checkpoint()).position == 7
    assert len(found_aside(tmp_path)) == 1
    await first.close()
    await second.close()
