"""The `Projection` protocol: tables, the keys of the rows an event needs, and how it changes them. Pure.

A batch of events is applied in memory to the rows it needs; then all changed rows are written in one transaction. So a
batch costs a few statements, whatever its size, on every database.

What a row may hold is decided here, not by a database, so that every store and every rebuild treat an event alike: text
a database cannot hold is replaced visibly; a number or key that does not fit, and whatever else an event makes the
projection raise, leaves the rows as they were, and the event is reported as not applied.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import msgspec

from syntor.contracts.bounds import well_formed
from syntor.eventsourcing.store import Recorded

Row = dict[str, Any]
"""Column to value: str, int, float or None."""
RowKey = tuple[str, str]
"""Table and key."""


MAX_INTEGER = 2**63 - 1  # of a BIGINT
MAX_KEY = 1000  # characters; an index entry of PostgreSQL holds 2,704 bytes
MAX_COLUMN = 64 * 1024 * 1024  # characters; no event is that long


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
        self._before: dict[RowKey, tuple[Row | None, bool]] = {}
        self.changed: dict[RowKey, Row] = {}

    def get(self, table: str, key: str) -> Row | None:
        """Return the current row, or None if there is none."""
        return self._rows.get(storable_key(table, key))

    def put(self, table: str, key: str, row: Row) -> None:
        """Add or replace a row.

        Raises:
            ValueError: a value does not fit into a column of any database.
        """
        place = storable_key(table, key)
        if len(place[1]) > MAX_KEY:
            raise ValueError(f"the key of {table} has {len(key)} characters, {MAX_KEY} fit")
        row = {column: _storable(table, column, value) for column, value in row.items()}
        self._before.setdefault(place, (self._rows.get(place), place in self.changed))
        self._rows[place] = self.changed[place] = row

    def update(self, table: str, key: str, change: Callable[[Row], Row]) -> None:
        """Change columns of a row, if it exists."""
        row = self.get(table, key)
        if row is not None:
            self.put(table, key, {**row, **change(row)})

    def keep(self) -> None:
        """Make what was put since the last call permanent: `revert` does not undo it any more."""
        self._before.clear()

    def revert(self) -> None:
        """Undo what was put since the last `keep`."""
        for place, (row, was_changed) in self._before.items():
            if row is None:
                self._rows.pop(place, None)
            else:
                self._rows[place] = row
            if row is not None and was_changed:
                self.changed[place] = row
            else:
                self.changed.pop(place, None)
        self._before.clear()


def storable_text(text: str) -> str:
    """Return a text every database can hold: NUL and lone surrogates are replaced by U+2400 and U+FFFD."""
    if "\0" in text:
        text = text.replace("\0", "\u2400")
    return well_formed(text)


def storable_key(table: str, key: str) -> RowKey:
    """Return the key under which a row is stored."""
    return table, storable_text(key)


def _storable(table: str, column: str, value: Any) -> Any:
    """Return a value as every database stores it."""
    if isinstance(value, str):
        if len(value) > MAX_COLUMN:
            raise ValueError(f"{table}.{column}: {len(value)} characters do not fit")
        return storable_text(value)
    if isinstance(value, int) and not -MAX_INTEGER <= value <= MAX_INTEGER:
        raise ValueError(f"{table}.{column}: {value:.3g} does not fit into 64 bits")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{table}.{column}: {value} is no number")
    return value


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

    def mark_not_applied(self, rows: Rows, recorded: Recorded) -> None:
        """Mark the row an event belongs to, if there is one: it lacks what the event says."""
        ...


class NotApplied(msgspec.Struct, frozen=True):
    """An event that changed no row because of what applying it raised."""

    recorded: Recorded
    cause: str


def apply_batch(projection: Projection, rows: Rows, batch: Iterable[Recorded]) -> list[NotApplied]:
    """Apply events in order; return those that could not be applied, each marked in its row."""
    failed: list[NotApplied] = []
    for recorded in batch:
        rows.keep()
        try:
            projection.apply(rows, recorded)
        except Exception as exc:  # noqa: BLE001 - one event must not keep the rows from all later ones
            rows.revert()
            projection.mark_not_applied(rows, recorded)
            failed.append(NotApplied(recorded, f"{type(exc).__name__}: {exc}"))
    rows.keep()
    return failed


def keys_of(projection: Projection, batch: Iterable[Recorded]) -> list[RowKey]:
    """Return the keys of the rows that events may read or change, as they are stored."""
    return [storable_key(table, key) for recorded in batch for table, key in projection.keys(recorded)]
