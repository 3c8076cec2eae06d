"""The read-model store on SQLite, through aiosqlite.

The rows can be rebuilt from the log, so commits need not survive a power failure: `synchronous=NORMAL`. A database file
that was removed or replaced while open is detected before each use, and opened again.
"""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiosqlite
import msgspec

from syntor.contracts.errors import InfrastructureError, StorageFullError
from syntor.contracts.vocabulary import Database
from syntor.projections.projection import Projection, Row, RowKey, Table
from syntor.projections.store import (
    STATE_COLUMNS,
    STATE_STATEMENT,
    STATE_TABLE,
    Checkpoint,
    CheckpointMovedError,
    UnstorableError,
    by_table,
    create_statements,
    storable,
    upsert,
)
from syntor.runtime.private_files import make_private_folder, private

BUSY_TIMEOUT_S = 10.0
_KEYS_PER_SELECT = 500  # SQLite's limit on variables is 32,766; shorter statements are prepared faster


class SqliteStore:
    """`ReadModelStore` in one file."""

    kind: Database = "sqlite"

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._connection: aiosqlite.Connection | None = None
        self._identity: tuple[int, int] = (0, 0)
        self._projection: Projection | None = None
        self._tables: dict[str, Table] = {}
        self._lock = asyncio.Lock()

    async def open(self, projection: Projection) -> None:
        """Connect and prepare; see `ReadModelStore.open`."""
        self._projection = projection
        self._tables = {table.name: table for table in projection.tables}
        async with self._connected():
            pass

    async def checkpoint(self) -> Checkpoint:
        """Return the checkpoint; see `ReadModelStore.checkpoint`."""
        async with self._connected() as connection:
            return await self._checkpoint(connection)

    async def load(self, keys: Iterable[RowKey]) -> dict[RowKey, Row]:
        """Return the rows that exist; see `ReadModelStore.load`."""
        found: dict[RowKey, Row] = {}
        async with self._connected() as connection:
            for name, wanted in by_table(keys).items():
                table = self._tables[name]
                for start in range(0, len(wanted), _KEYS_PER_SELECT):
                    part = wanted[start : start + _KEYS_PER_SELECT]
                    marks = ",".join("?" * len(part))
                    sql = f"SELECT * FROM {name} WHERE {table.key} IN ({marks})"
                    for row in await connection.execute_fetchall(sql, part):
                        found[name, row[0]] = dict(zip(table.columns, row, strict=True))
        return found

    async def commit(self, expected: int, checkpoint: Checkpoint, changed: dict[RowKey, Row]) -> None:
        """Write rows and checkpoint; see `ReadModelStore.commit`."""
        async with self._connected() as connection, _transaction(connection):
            found = await self._checkpoint(connection)
            if found.position != expected:
                raise CheckpointMovedError(f"checkpoint is {found.position}, expected {expected}")
            for name, rows in _grouped(changed).items():
                table = self._tables[name]
                values = [tuple(row[column] for column in table.columns) for row in rows]
                await connection.executemany(upsert(table, ["?"] * len(table.columns)), values)
            await self._set(connection, checkpoint)

    async def reset(self) -> None:
        """Remove all rows; see `ReadModelStore.reset`."""
        async with self._connected() as connection, _transaction(connection):
            for name in self._tables:
                await connection.execute(f"DELETE FROM {name}")
            await self._set(connection, Checkpoint())

    async def fetch(self, sql: str, *parameters: Any) -> list[Row]:
        """Return the rows of a query."""
        async with self._connected() as connection, connection.execute(sql, storable(parameters)) as cursor:
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in await cursor.fetchall()]

    async def snapshot(self) -> tuple[Checkpoint, dict[RowKey, Row]]:
        """Return checkpoint and rows; see `ReadModelStore.snapshot`."""
        rows: dict[RowKey, Row] = {}
        async with self._connected() as connection, _transaction(connection):
            checkpoint = await self._checkpoint(connection)
            for name, table in self._tables.items():
                for row in await connection.execute_fetchall(f"SELECT {', '.join(table.columns)} FROM {name}"):
                    rows[name, row[0]] = dict(zip(table.columns, row, strict=True))
        return checkpoint, rows

    async def close(self) -> None:
        """Disconnect."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    @asynccontextmanager
    async def _connected(self) -> AsyncGenerator[aiosqlite.Connection, None]:
        """Lend the connection to one caller at a time; open it again when its file is no longer the one at the path."""
        async with self._lock:
            try:
                if self._connection is None or self._file_identity() != self._identity:
                    await self.close()
                    self._connection = await self._connect()
                yield self._connection
            except (sqlite3.DataError, sqlite3.InterfaceError, OverflowError, UnicodeError) as exc:
                raise UnstorableError(f"{self._path}: {exc}") from exc
            except sqlite3.Error as exc:
                kind = StorageFullError if "full" in str(exc) else InfrastructureError
                raise kind(f"{self._path}: {exc}") from exc
            except OSError as exc:  # of its folder or its file, before SQLite sees them
                kind = StorageFullError if exc.errno == errno.ENOSPC else InfrastructureError
                raise kind(f"{self._path}: {exc.strerror or exc}") from exc

    def _file_identity(self) -> tuple[int, int]:
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            return (0, 0)
        return (status.st_dev, status.st_ino)

    async def _connect(self) -> aiosqlite.Connection:
        make_private_folder(self._path.parent)
        if not self._path.exists():
            for suffix in ("-wal", "-shm"):  # left by a removed file: SQLite would apply them to the new one
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        os.close(private(str(self._path), os.O_RDWR | os.O_CREAT))  # SQLite gives its other files the same mode
        connection = await aiosqlite.connect(self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        try:
            for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "temp_store=MEMORY"):
                await connection.execute(f"PRAGMA {pragma}")
            await self._prepare(connection)
        except BaseException:
            await connection.close()  # ends its thread
            raise
        self._identity = self._file_identity()
        return connection

    async def _prepare(self, connection: aiosqlite.Connection) -> None:
        projection = self._projection
        assert projection is not None, "open() must be called first"
        async with _transaction(connection):
            await connection.execute(STATE_STATEMENT)
            present = {row[1] for row in await connection.execute_fetchall(f"PRAGMA table_info({STATE_TABLE})")}
            for column, kind in STATE_COLUMNS.items():
                if column not in present:
                    await connection.execute(f"ALTER TABLE {STATE_TABLE} ADD COLUMN {column} {kind}")
            sql = f"SELECT version FROM {STATE_TABLE} WHERE name = ?"
            versions = [row[0] for row in await connection.execute_fetchall(sql, (projection.name,))]
            if versions and versions[0] != projection.version:
                for name in self._tables:
                    await connection.execute(f"DROP TABLE IF EXISTS {name}")
                await connection.execute(f"DELETE FROM {STATE_TABLE} WHERE name = ?", (projection.name,))
            for statement in create_statements(projection.tables):
                await connection.execute(statement)
            sql = f"INSERT INTO {STATE_TABLE} (name, version, position) VALUES (?, ?, 0) ON CONFLICT (name) DO NOTHING"
            await connection.execute(sql, (projection.name, projection.version))

    async def _checkpoint(self, connection: aiosqlite.Connection) -> Checkpoint:
        assert self._projection is not None
        sql = f"SELECT {', '.join(Checkpoint.__struct_fields__)} FROM {STATE_TABLE} WHERE name = ?"
        rows = list(await connection.execute_fetchall(sql, (self._projection.name,)))
        return Checkpoint(*rows[0]) if rows else Checkpoint()

    async def _set(self, connection: aiosqlite.Connection, checkpoint: Checkpoint) -> None:
        assert self._projection is not None
        changes = ", ".join(f"{field} = ?" for field in Checkpoint.__struct_fields__)
        values = storable(msgspec.structs.astuple(checkpoint))
        await connection.execute(f"UPDATE {STATE_TABLE} SET {changes} WHERE name = ?", (*values, self._projection.name))


@asynccontextmanager
async def _transaction(connection: aiosqlite.Connection) -> AsyncGenerator[None, None]:
    await connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        await connection.execute("ROLLBACK")
        raise
    await connection.execute("COMMIT")


def _grouped(changed: dict[RowKey, Row]) -> dict[str, list[Row]]:
    grouped: dict[str, list[Row]] = {}
    for (table, _), row in changed.items():
        grouped.setdefault(table, []).append(row)
    return grouped
