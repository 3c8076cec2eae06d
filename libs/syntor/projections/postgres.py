"""The read-model store on PostgreSQL, through asyncpg."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import Any, cast

import asyncpg
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

COMMAND_TIMEOUT_S = 30.0


class PostgresStore:
    """`ReadModelStore` in one database."""

    kind: Database = "postgresql"

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool: Any = None
        self._projection: Projection | None = None
        self._tables: dict[str, Table] = {}

    async def open(self, projection: Projection) -> None:
        """Connect and prepare; see `ReadModelStore.open`."""
        await self._open(projection)

    async def _open(self, projection: Projection, *, anew: bool = False) -> None:
        self._projection = projection
        self._tables = {table.name: table for table in projection.tables}
        await self.close()  # what an attempt that failed has left
        with _translated():
            create_pool = cast("Any", asyncpg).create_pool
            self._pool = await create_pool(self._url, min_size=1, max_size=5, command_timeout=COMMAND_TIMEOUT_S)
        async with self._transaction() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock(7316455)")  # one process at a time creates tables
            await connection.execute(STATE_STATEMENT)
            for column, kind in STATE_COLUMNS.items():
                await connection.execute(f"ALTER TABLE {STATE_TABLE} ADD COLUMN IF NOT EXISTS {column} {kind}")
            sql = f"SELECT version FROM {STATE_TABLE} WHERE name = $1"
            version = await connection.fetchval(sql, projection.name)
            others = [
                table.name for table in projection.tables if await self._columns(connection, table) != table.columns
            ]
            if version is None and (foreign := [name for name in others if await self._exists(connection, name)]):
                raise InfrastructureError(
                    f"PostgreSQL: table {foreign[0]} is not one of this read model; "
                    "set SYNTOR_DATABASE_URL to a database of its own, or drop the table"
                )
            if version == projection.version and others and not anew:
                raise DamagedError(f"PostgreSQL: table {others[0]} is not one of this read model")
            if version != projection.version or anew:
                for name in self._tables:
                    await connection.execute(f"DROP TABLE IF EXISTS {name}")
                await connection.execute(f"DELETE FROM {STATE_TABLE} WHERE name = $1", projection.name)
            for statement in create_statements(projection.tables):
                await connection.execute(statement)
            sql = (
                f"INSERT INTO {STATE_TABLE} (name, version, position) VALUES ($1, $2, 0) ON CONFLICT (name) DO NOTHING"
            )
            await connection.execute(sql, projection.name, projection.version)

    async def start_over(self) -> str:
        """Drop the tables and create them anew; see `ReadModelStore.start_over`."""
        assert self._projection is not None, "open() must be called first"
        await self._open(self._projection, anew=True)
        return "dropped the tables of the read model"

    async def checkpoint(self) -> Checkpoint:
        """Return the checkpoint; see `ReadModelStore.checkpoint`."""
        async with self._acquired() as connection:
            return await self._checkpoint(connection)

    async def load(self, keys: Iterable[RowKey]) -> dict[RowKey, Row]:
        """Return the rows that exist; see `ReadModelStore.load`."""
        found: dict[RowKey, Row] = {}
        async with self._acquired() as connection:
            for name, wanted in by_table(keys).items():
                table = self._tables[name]
                sql = f"SELECT * FROM {name} WHERE {table.key} = ANY($1::text[])"
                for record in await connection.fetch(sql, wanted):
                    found[name, record[table.key]] = dict(record)
        return found

    async def commit(self, expected: int, checkpoint: Checkpoint, changed: dict[RowKey, Row]) -> None:
        """Write rows and checkpoint; see `ReadModelStore.commit`."""
        async with self._transaction() as connection:
            found = await self._checkpoint(connection, lock=True)
            if found.position != expected:
                raise CheckpointMovedError(f"checkpoint is {found.position}, expected {expected}")
            grouped: dict[str, list[Row]] = {}
            for (name, _), row in changed.items():
                grouped.setdefault(name, []).append(row)
            for name, rows in grouped.items():
                table = self._tables[name]
                marks = [f"${number}" for number in range(1, len(table.columns) + 1)]
                values = [tuple(row[column] for column in table.columns) for row in rows]
                await connection.executemany(upsert(table, marks), values)
            await self._set(connection, checkpoint)

    async def reset(self) -> None:
        """Remove all rows; see `ReadModelStore.reset`."""
        async with self._transaction() as connection:
            await self._checkpoint(connection, lock=True)
            for name in self._tables:
                await connection.execute(f"DELETE FROM {name}")
            await self._set(connection, Checkpoint())

    async def fetch(self, sql: str, *parameters: Any) -> list[Row]:
        """Return the rows of a query; `?` placeholders become PostgreSQL's."""
        parts = sql.split("?")
        numbered = "".join(part + (f"${number}" if number < len(parts) else "") for number, part in enumerate(parts, 1))
        async with self._acquired() as connection:
            return [dict(record) for record in await connection.fetch(numbered, *storable(parameters))]

    async def snapshot(self) -> tuple[Checkpoint, dict[RowKey, Row]]:
        """Return checkpoint and rows; see `ReadModelStore.snapshot`."""
        rows: dict[RowKey, Row] = {}
        async with self._transaction(isolation="repeatable_read") as connection:
            checkpoint = await self._checkpoint(connection)
            for name, table in self._tables.items():
                for record in await connection.fetch(f"SELECT {', '.join(table.columns)} FROM {name}"):
                    rows[name, record[table.key]] = dict(record)
        return checkpoint, rows

    async def close(self) -> None:
        """Disconnect."""
        if self._pool is not None:
            await self._pool.close()
            self._pool = None

    @asynccontextmanager
    async def _acquired(self) -> AsyncGenerator[Any, None]:
        with _translated():
            async with self._pool.acquire() as connection:
                yield connection

    @asynccontextmanager
    async def _transaction(self, isolation: str = "read_committed") -> AsyncGenerator[Any, None]:
        async with self._acquired() as connection, connection.transaction(isolation=isolation):
            yield connection

    async def _checkpoint(self, connection: Any, *, lock: bool = False) -> Checkpoint:
        assert self._projection is not None
        columns = ", ".join(Checkpoint.__struct_fields__)
        sql = f"SELECT {columns} FROM {STATE_TABLE} WHERE name = $1{' FOR UPDATE' if lock else ''}"
        record = await connection.fetchrow(sql, self._projection.name)
        if record is None:
            raise DamagedError("PostgreSQL: the read model has no checkpoint")
        return checkpoint_of(record)

    @staticmethod
    async def _exists(connection: Any, name: str) -> bool:
        return await connection.fetchval("SELECT to_regclass($1)", name) is not None

    @staticmethod
    async def _columns(connection: Any, table: Table) -> dict[str, str]:
        """Return the columns of a table and their types, as far as it is one with the right key."""
        sql = (
            "SELECT a.attname, upper(format_type(a.atttypid, a.atttypmod)) FROM pg_attribute a "
            "JOIN pg_class c ON c.oid = a.attrelid WHERE c.oid = to_regclass($1) AND c.relkind = 'r' "
            "AND a.attnum > 0 AND NOT a.attisdropped AND EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = c.oid "
            "AND i.indisprimary AND i.indisvalid AND i.indkey[0] = "
            "(SELECT attnum FROM pg_attribute WHERE attrelid = c.oid AND attname = $2))"
        )
        return dict(await connection.fetch(sql, table.name, table.key))

    async def _set(self, connection: Any, checkpoint: Checkpoint) -> None:
        assert self._projection is not None
        fields = Checkpoint.__struct_fields__
        changes = ", ".join(f"{field} = ${number}" for number, field in enumerate(fields, 2))
        values = storable(msgspec.structs.astuple(checkpoint))
        await connection.execute(f"UPDATE {STATE_TABLE} SET {changes} WHERE name = $1", self._projection.name, *values)


_OTHER_TABLES = (
    *(asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.WrongObjectTypeError),
    *(asyncpg.DatatypeMismatchError, asyncpg.InvalidColumnReferenceError, asyncpg.NotNullViolationError),
)
# InternalClientError is what the driver raises on a connection that broke in the middle of an operation
_UNAVAILABLE = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)


class _translated:  # noqa: N801 - reads as what it does: with _translated():
    """Translates the driver's errors."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, _: object) -> None:
        if isinstance(exc, asyncpg.DiskFullError):
            raise StorageFullError(f"PostgreSQL: {exc}") from exc
        if isinstance(exc, (asyncpg.DataError, asyncpg.ProgramLimitExceededError, UnicodeError)):
            raise UnstorableError(f"PostgreSQL: {exc}") from exc
        if isinstance(exc, _OTHER_TABLES):
            raise DamagedError(f"PostgreSQL: {exc}") from exc
        if isinstance(exc, _UNAVAILABLE):
            raise InfrastructureError(f"PostgreSQL: {exc or type(exc).__name__}") from exc
