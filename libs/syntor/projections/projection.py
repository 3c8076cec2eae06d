"""What a projection is: tables, the rows an event touches, and how it changes them. Pure.

A batch of events is applied to the rows it touches in memory; then all changed rows are written at once. So a batch
costs a handful of statements, whatever is in it, on every database.
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
    """The rows a batch touches: those loaded, those made, those changed."""

    def __init__(self, loaded: dict[RowKey, Row] | None = None) -> None:
        self._rows: dict[RowKey, Row] = dict(loaded or {})
        self.changed: dict[RowKey, Row] = {}

    def get(self, table: str, key: str) -> Row | None:
        """Return a row as it is now, or None where there is none."""
        return self._rows.get((table, key))

    def put(self, table: str, key: str, row: Row) -> None:
        """Make or replace a row."""
        self._rows[table, key] = row
        self.changed[table, key] = row

    def update(self, table: str, key: str, change: Callable[[Row], Row]) -> None:
        """Change a row, if it is there."""
        row = self._rows.get((table, key))
        if row is not None:
            self.put(table, key, {**row, **change(row)})


class Projection(Protocol):
    """A read model."""

    name: str
    version: int
    """Changed when rows would come out differently; the read model is then built anew."""
    tables: tuple[Table, ...]

    def handles(self, subject: str) -> bool:
        """Return whether a message of this subject can change a row."""
        ...

    def keys(self, recorded: Recorded) -> Iterable[RowKey]:
        """Return the rows an event may read or change."""
        ...

    def apply(self, rows: Rows, recorded: Recorded) -> None:
        """Change rows by one event; depends on nothing but the two."""
        ...


def apply_batch(projection: Projection, rows: Rows, batch: Iterable[Recorded]) -> None:
    """Apply events in order."""
    for recorded in batch:
        projection.apply(rows, recorded)
