"""The `Projection` protocol: tables, the keys of the rows an event needs, and how it changes them. Pure.

A batch of events is applied in memory to the rows it needs; then all changed rows are written in one transaction. So a
batch costs a few statements, whatever its size, on every database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import msgspec

from syntor.eventsourcing.store import Recorded

Row = dict[str, Any]
"""Column to value: str, int, float or None."""
RowKey = tuple[str, str]
"""Table and key."""


class Table(msgspec.Struct, frozen=True):
    """One table of a read model."""

    name: str
    columns: dict[str, str]
    """Column to SQL type (TEXT, BIGINT, DOUBLE PRECISION); the first is the key."""
    indexes: tuple[tuple[str, ...], ...] = ()

    @property
    def key(self) -> str:
        """Name of the key column."""
        return next(iter(self.columns))


class Rows:
    """The rows of a batch in memory: loaded, added and changed."""

    def __init__(self, loaded: dict[RowKey, Row] | None = None) -> None:
        self._rows: dict[RowKey, Row] = dict(loaded or {})
        self.changed: dict[RowKey, Row] = {}

    def get(self, table: str, key: str) -> Row | None:
        """Return the current row, or None if there is none."""
        return self._rows.get((table, key))

    def put(self, table: str, key: str, row: Row) -> None:
        """Add or replace a row."""
        self._rows[table, key] = row
        self.changed[table, key] = row

    def update(self, table: str, key: str, change: Callable[[Row], Row]) -> None:
        """Change columns of a row, if it exists."""
        row = self._rows.get((table, key))
        if row is not None:
            self.put(table, key, {**row, **change(row)})


class Projection(Protocol):
    """A read model."""

    name: str
    version: int
    """Raised when the same events yield different rows; the read model is then rebuilt."""
    tables: tuple[Table, ...]

    def handles(self, subject: str) -> bool:
        """Return whether a message of this subject can change a row."""
        ...

    def keys(self, recorded: Recorded) -> Iterable[RowKey]:
        """Return the rows an event may read or change."""
        ...

    def apply(self, rows: Rows, recorded: Recorded) -> None:
        """Change rows by one event; a pure function of both."""
        ...


def apply_batch(projection: Projection, rows: Rows, batch: Iterable[Recorded]) -> None:
    """Apply events in order."""
    for recorded in batch:
        projection.apply(rows, recorded)
