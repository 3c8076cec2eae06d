"""A read-model store in memory, shared by the processes of a simulated world: SQLite without a file or a thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any

import msgspec

from syntor.contracts.errors import InfrastructureError
from syntor.contracts.vocabulary import Database
from syntor.projections.projection import Projection, Row, RowKey, Table
from syntor.projections.store import (
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


def new_database(image: bytes = b"") -> sqlite3.Connection:
    """Return a database, empty or as `Connection.serialize` left another; every store on it sees the same rows."""
    database = sqlite3.connect(":memory:", isolation_level=None)
    if image:
        database.deserialize(image)
    return database


class MemoryReadModelStore:
    """`ReadModelStore` on a database in memory; each call is one transaction, as it never waits in between."""

    kind: Database = "sqlite"

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._projection: Projection | None = None
        self._name = ""
        self._tables: dict[str, Table] = {}

    async def open(self, projection: Projection) -> None:
        """Create missing tables; see `ReadModelStore.open`."""
        self.create(projection)

    async def start_over(self) -> str:
        """Drop all tables and create them anew; see `ReadModelStore.start_over`."""
        assert self._projection is not None
        for name in (*self._tables, STATE_TABLE):
            self._database.execute(f"DROP TABLE IF EXISTS {name}")
        self.create(self._projection)
        return "dropped the tables"

    def create(self, projection: Projection) -> None:
        """Create missing tables, unless those of this version are there."""
        self._projection = projection
        self._name = projection.name
        self._tables = {table.name: table for table in projection.tables}
        if self._version() == projection.version:
            return
        self._database.execute(STATE_STATEMENT)
        if self._version() is not None:
            for name in self._tables:
                self._database.execute(f"DROP TABLE IF EXISTS {name}")
            self._database.execute(f"DELETE FROM {STATE_TABLE} WHERE name = ?", (self._name,))
        for statement in create_statements(projection.tables):
            self._database.execute(statement)
        sql = f"INSERT INTO {STATE_TABLE} (name, version, position) VALUES (?, ?, 0) ON CONFLICT (name) DO NOTHING"
        self._database.execute(sql, (self._name, projection.version))

    async def checkpoint(self) -> Checkpoint:
        """Return the checkpoint."""
        return self._checkpoint()

    async def load(self, keys: Iterable[RowKey]) -> dict[RowKey, Row]:
        """Return the rows that exist, by key."""
        found: dict[RowKey, Row] = {}
        for name, wanted in by_table(keys).items():
            table = self._tables[name]
            marks = ",".join("?" * len(wanted))
            for row in self._database.execute(f"SELECT * FROM {name} WHERE {table.key} IN ({marks})", wanted):
                found[name, row[0]] = dict(zip(table.columns, row, strict=True))
        return found

    async def commit(self, expected: int, checkpoint: Checkpoint, changed: dict[RowKey, Row]) -> None:
        """Write rows and checkpoint; see `ReadModelStore.commit`."""
        found = self.position
        if found != expected:
            raise CheckpointMovedError(f"checkpoint is {found}, expected {expected}")
        self._database.execute("BEGIN")
        try:
            for (name, _), row in changed.items():
                table = self._tables[name]
                values = [row[column] for column in table.columns]
                self._database.execute(upsert(table, ["?"] * len(values)), values)
            self._set(checkpoint)
        except (sqlite3.DataError, sqlite3.InterfaceError, OverflowError, UnicodeError) as exc:
            self._database.execute("ROLLBACK")
            raise UnstorableError(str(exc)) from exc
        except sqlite3.Error as exc:
            self._database.execute("ROLLBACK")
            raise InfrastructureError(str(exc)) from exc
        self._database.execute("COMMIT")

    async def reset(self) -> None:
        """Remove all rows."""
        for name in self._tables:
            self._database.execute(f"DELETE FROM {name}")
        self._set(Checkpoint())

    async def fetch(self, sql: str, *parameters: Any) -> list[Row]:
        """Return the rows of a query."""
        cursor = self._database.execute(sql, storable(parameters))
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    async def snapshot(self) -> tuple[Checkpoint, dict[RowKey, Row]]:
        """Return checkpoint and rows."""
        rows: dict[RowKey, Row] = {}
        for name, table in self._tables.items():
            for row in self._database.execute(f"SELECT {', '.join(table.columns)} FROM {name}"):
                rows[name, row[0]] = dict(zip(table.columns, row, strict=True))
        return self._checkpoint(), rows

    async def close(self) -> None:
        """Do nothing: the database belongs to the world."""

    def _version(self) -> int | None:
        known = "SELECT 1 FROM sqlite_master WHERE name = ?"
        if not self._database.execute(known, (STATE_TABLE,)).fetchall():
            return None
        rows = self._database.execute(f"SELECT version FROM {STATE_TABLE} WHERE name = ?", (self._name,)).fetchall()
        return int(rows[0][0]) if rows else None

    @property
    def position(self) -> int:
        """Position of the checkpoint."""
        return self._checkpoint().position

    def _checkpoint(self) -> Checkpoint:
        sql = f"SELECT {', '.join(Checkpoint.__struct_fields__)} FROM {STATE_TABLE} WHERE name = ?"
        rows = self._database.execute(sql, (self._name,)).fetchall()
        return Checkpoint(*rows[0]) if rows else Checkpoint()

    def _set(self, checkpoint: Checkpoint) -> None:
        changes = ", ".join(f"{field} = ?" for field in Checkpoint.__struct_fields__)
        values = storable(msgspec.structs.astuple(checkpoint))
        self._database.execute(f"UPDATE {STATE_TABLE} SET {changes} WHERE name = ?", (*values, self._name))
