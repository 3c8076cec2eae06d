"""The read-model store on SQLite, through aiosqlite.

The rows can be rebuilt from the log, so commits need not survive a power failure: `synchronous=NORMAL`. A database file
that was removed or replaced while open is detected before each use, and opened again. One that is damaged is used no
more until `start_over` has set it aside.
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
    DamagedError,
    UnstorableError,
    by_table,
    checkpoint_of,
    create_statements,
    storable,
    upsert,
)
from syntor.runtime.private_files import make_private_folder, private
from syntor.runtime.set_aside import set_aside

BUSY_TIMEOUT_S = 10.0
COMPANIONS = ("-wal", "-shm")
_CHECKED_BYTES = 64 * 1024 * 1024  # up to which a file is checked when it is opened: some 0.1 s
_OTHER_TABLES = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH)  # as statements see them
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT)
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
        self._damage = ""
        """What is wrong with the file; found by a query, it is known to the next commit as well."""

    async def open(self, projection: Projection) -> None:
        """Connect and prepare; see `ReadModelStore.open`."""
        self._projection = projection
        self._tables = {table.name: table for table in projection.tables}
        async with self._connected() as connection:
            if self._path.stat().st_size <= _CHECKED_BYTES:
                found = [row[0] for row in await connection.execute_fetchall("PRAGMA quick_check(1)")]
                if found != ["ok"]:
                    raise DamagedError("; ".join(str(text) for text in found))

    async def start_over(self) -> str:
        """Set the file aside and open an empty one; see `ReadModelStore.start_over`."""
        done = f"{self._path} was replaced already"
        async with self._lock:
            await self.close()
            try:
                if self._file_identity() == self._identity or not self._path.is_file():
                    done = f"set aside as {set_aside(self._path, COMPANIONS)}"
            except OSError as exc:
                raise InfrastructureError(f"{self._path} cannot be set aside: {exc.strerror or exc}") from exc
            self._damage = ""
        async with self._connected():
            return done

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
                if self._file_identity() != self._identity:
                    await self.close()
                    self._damage = ""
                if self._damage:
                    raise DamagedError(self._damage)
                if self._connection is None:
                    self._connection = await self._connect()
                yield self._connection
            except DamagedError as exc:
                raise self._damaged(str(exc)) from exc
            except (sqlite3.DataError, sqlite3.InterfaceError, OverflowError, UnicodeError) as exc:
                raise UnstorableError(f"{self._path}: {exc}") from exc
            except sqlite3.Error as exc:
                if _is_damage(exc) or self._is_unusable() or await self._has_other_tables(exc):
                    raise self._damaged(str(exc)) from exc
                kind = StorageFullError if "full" in str(exc) else InfrastructureError
                raise kind(f"{self._path}: {exc}") from exc
            except OSError as exc:  # of its folder or its file, before SQLite sees them
                if self._is_unusable():
                    raise self._damaged(exc.strerror or str(exc)) from exc
                kind = StorageFullError if exc.errno == errno.ENOSPC else InfrastructureError
                raise kind(f"{self._path}: {exc.strerror or exc}") from exc

    def _damaged(self, found: str) -> DamagedError:
        self._damage = found.removeprefix(f"{self._path}: ")
        return DamagedError(f"{self._path}: {self._damage}")

    def _is_unusable(self) -> bool:
        """Return whether something at the paths of the database is no file that this process can read and write."""
        paths = [self._path, *(self._path.with_name(self._path.name + suffix) for suffix in COMPANIONS)]
        present = [path for path in paths if path.exists() or path.is_symlink()]
        return any(not path.is_file() or not os.access(path, os.R_OK | os.W_OK) for path in present)

    async def _has_other_tables(self, exc: sqlite3.Error) -> bool:
        """Return whether a statement failed because a table is not, or no longer, as it was created."""
        if getattr(exc, "sqlite_errorcode", 0) not in _OTHER_TABLES:
            return False
        if self._connection is None:  # it failed while the tables were prepared
            return True
        try:
            await self._check_tables(self._connection)
        except DamagedError:
            return True
        return False

    async def _check_tables(self, connection: aiosqlite.Connection) -> None:
        """Check the columns of every table.

        Raises:
            DamagedError: they are others.
        """
        for name, table in self._tables.items():
            found = list(await connection.execute_fetchall(f"PRAGMA table_info({name})"))
            columns, key = [(row[1], row[2]) for row in found], [row[1] for row in found if row[5]]
            if columns != list(table.columns.items()) or key != [table.key]:
                raise DamagedError(f"table {name} is not one of this read model")

    async def _check_that_none_exists(self, connection: aiosqlite.Connection) -> None:
        """Check a database without a checkpoint.

        Raises:
            DamagedError: it has tables, which are another program's or of an unknown position.
        """
        present = {row[0] for row in await connection.execute_fetchall("SELECT name FROM sqlite_master")}
        if found := sorted(present & self._tables.keys()):
            raise DamagedError(f"table {found[0]} has rows without a checkpoint")

    def _file_identity(self) -> tuple[int, int]:
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            return (0, 0)
        return (status.st_dev, status.st_ino)

    async def _connect(self) -> aiosqlite.Connection:
        make_private_folder(self._path.parent)
        if not self._path.exists():
            for suffix in COMPANIONS:  # left by a removed file: SQLite would apply them to the new one
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        self._identity = self._file_identity()  # of a file that cannot be opened, too: it is the one to set aside
        os.close(private(str(self._path), os.O_RDWR | os.O_CREAT))  # SQLite gives its other files the same mode
        self._identity = self._file_identity()
        connection = await aiosqlite.connect(self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        try:
            for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "temp_store=MEMORY"):
                await connection.execute(f"PRAGMA {pragma}")
            await self._prepare(connection)
        except BaseException:
            await connection.close()  # ends its thread
            raise
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
            if versions == [projection.version]:
                await self._check_tables(connection)
            elif not versions:
                await self._check_that_none_exists(connection)
            else:
                for name in self._tables:
                    await connection.execute(f"DROP TABLE IF EXISTS {name}")
                await connection.execute(f"DELETE FROM {STATE_TABLE} WHERE name = ?", (projection.name,))
            for statement in create_statements(projection.tables):
                await connection.execute(statement)
            sql = f"INSERT INTO {STATE_TABLE} (name, version, position) VALUES (?, ?, 0) ON CONFLICT (name) DO NOTHING"
            await connection.execute(sql, (projection.name, projection.version))
            await self._checkpoint(connection)

    async def _checkpoint(self, connection: aiosqlite.Connection) -> Checkpoint:
        assert self._projection is not None
        sql = f"SELECT {', '.join(Checkpoint.__struct_fields__)} FROM {STATE_TABLE} WHERE name = ?"
        rows = list(await connection.execute_fetchall(sql, (self._projection.name,)))
        if not rows:
            raise DamagedError("the read model has no checkpoint")
        return checkpoint_of(rows[0])

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


def _is_damage(exc: sqlite3.Error) -> bool:
    """Return whether an error says that the file is not a database, or no whole one."""
    code = getattr(exc, "sqlite_errorcode", None)  # None: Python's own, of a text that is not UTF-8
    return (code is not None and code & 0xFF in _DAMAGED) or "Could not decode" in str(exc)


def _grouped(changed: dict[RowKey, Row]) -> dict[str, list[Row]]:
    grouped: dict[str, list[Row]] = {}
    for (table, _), row in changed.items():
        grouped.setdefault(table, []).append(row)
    return grouped
