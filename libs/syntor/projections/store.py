"""The port to a read-model database. Adapters: `sqlite.py`, `postgres.py`; one test suite runs on both."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import msgspec

from syntor.contracts.errors import ContractError, InfrastructureError
from syntor.contracts.vocabulary import Database
from syntor.projections.projection import Projection, Row, RowKey, Table, storable_text

STATE_TABLE = "projection_state"


class Checkpoint(msgspec.Struct, frozen=True):
    """Position up to which events are in the rows, and what the log was there."""

    position: int = 0
    log_hash: str = ""
    """Log hash at the position; empty: not known."""
    event_hash: str = ""
    """Hash of the event at the position; empty: not known."""
    damage: str = ""
    """First damage of the log that was found while reading it; empty: none."""


class CheckpointMovedError(InfrastructureError):
    """Another process moved the checkpoint: read it again and continue from there."""

    code = "checkpoint_moved"


class DamagedError(InfrastructureError):
    """The database is not one that this store wrote, or is no longer: `start_over` makes a new one."""

    code = "read_model_damaged"


class UnstorableError(ContractError):
    """A database refuses a value: writing it again changes nothing."""

    code = "unstorable"


class ReadModelStore(Protocol):
    """A database that holds the tables of projections and their checkpoints."""

    kind: Database
    """sqlite or postgresql."""

    async def open(self, projection: Projection) -> None:
        """Connect and create missing tables; tables of another version of the projection are dropped first.

        Raises:
            DamagedError: what is there cannot be used.
        """
        ...

    async def start_over(self) -> str:
        """After a `DamagedError`: set aside what is there and open an empty database; return what was done.

        Another process may have done so already; then its database is opened.
        """
        ...

    async def checkpoint(self) -> Checkpoint:
        """Return the checkpoint."""
        ...

    async def load(self, keys: Iterable[RowKey]) -> dict[RowKey, Row]:
        """Return the rows that exist, by key."""
        ...

    async def commit(self, expected: int, checkpoint: Checkpoint, changed: dict[RowKey, Row]) -> None:
        """Write rows and checkpoint in one transaction.

        Raises:
            CheckpointMovedError: the position of the checkpoint is not `expected`; nothing was written.
            UnstorableError: the database refuses a value; nothing was written.
        """
        ...

    async def reset(self) -> None:
        """Remove all rows and set the checkpoint to 0, in one transaction."""
        ...

    async def fetch(self, sql: str, *parameters: Any) -> list[Row]:
        """Return the rows of a query with `?` placeholders."""
        ...

    async def snapshot(self) -> tuple[Checkpoint, dict[RowKey, Row]]:
        """Return the checkpoint and all rows, from one consistent snapshot."""
        ...

    async def close(self) -> None:
        """Disconnect."""
        ...


def create_statements(tables: Iterable[Table]) -> list[str]:
    """Return the statements that create tables and indexes."""
    statements: list[str] = []
    for table in tables:
        columns = ", ".join(
            f"{name} {kind}{' PRIMARY KEY' if name == table.key else ''}" for name, kind in table.columns.items()
        )
        statements.append(f"CREATE TABLE IF NOT EXISTS {table.name} ({columns})")
        for index in table.indexes:
            name = f"{table.name}_{'_'.join(index)}"
            statements.append(f"CREATE INDEX IF NOT EXISTS {name} ON {table.name} ({', '.join(index)})")
    return statements


STATE_COLUMNS = dict.fromkeys(("log_hash", "event_hash", "damage"), "TEXT NOT NULL DEFAULT ''")
"""Columns of the state table that one of an earlier version does not have yet."""
STATE_STATEMENT = (
    f"CREATE TABLE IF NOT EXISTS {STATE_TABLE} "
    "(name TEXT PRIMARY KEY, version BIGINT NOT NULL, position BIGINT NOT NULL, "
    f"{', '.join(f'{column} {kind}' for column, kind in STATE_COLUMNS.items())})"
)


def checkpoint_of(values: Iterable[Any]) -> Checkpoint:
    """Return the checkpoint in a row of the state table.

    Raises:
        DamagedError: it is none.
    """
    try:
        found = msgspec.convert(dict(zip(Checkpoint.__struct_fields__, values, strict=True)), Checkpoint)
        for text in (found.log_hash, found.event_hash):
            bytes.fromhex(text)
    except (msgspec.ValidationError, ValueError) as exc:
        raise DamagedError(f"the checkpoint of the read model is not one: {exc}") from exc
    if found.position < 0:
        raise DamagedError(f"the checkpoint of the read model is not one: position {found.position}")
    return found


def upsert(table: Table, placeholders: list[str]) -> str:
    """Return the statement that inserts or replaces a row."""
    columns = list(table.columns)
    changes = ", ".join(f"{column} = excluded.{column}" for column in columns if column != table.key)
    return (
        f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({', '.join(placeholders)}) "
        f"ON CONFLICT ({table.key}) DO UPDATE SET {changes}"
    )


def storable(parameters: Iterable[Any]) -> list[Any]:
    """Return a query's parameters as values are stored."""
    return [storable_text(value) if isinstance(value, str) else value for value in parameters]


def by_table(keys: Iterable[RowKey]) -> dict[str, list[str]]:
    """Group keys by table, without duplicates."""
    grouped: dict[str, dict[str, None]] = {}
    for table, key in keys:
        grouped.setdefault(table, {})[key] = None
    return {table: list(found) for table, found in grouped.items()}
