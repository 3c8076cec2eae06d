"""Rebuilds read models from events, and compares them with live ones, row by row."""

from __future__ import annotations

from syntor.eventsourcing.store import RawEvent
from syntor.projections.projection import NotApplied, Row, RowKey, Rows, apply_batch
from syntor.projections.runner import ProjectionRunner
from syntor.projections.store import CheckpointMovedError, ReadModelStore
from syntor.projector.domain.read_model import ReadModel
from syntor.replay.decisions import Mismatch
from syntor.replay.source import LogSource, Source

MAX_SHOWN = 300  # characters of a value in a report


async def fold(source: Source, up_to: int) -> tuple[dict[RowKey, Row], list[NotApplied]]:
    """Return all rows as they are at a position, from events alone, and the events that could not be applied."""
    projection, rows, failed = ReadModel(), Rows(), list[NotApplied]()
    async for batch, _ in source.batches(0, up_to):
        failed += apply_batch(projection, rows, (event for event in batch if projection.handles(event.subject)))
    return rows.changed, failed


async def rebuild(source: LogSource, store: ReadModelStore) -> int:
    """Empty the tables of a database and fill them again; return the position reached.

    A live projector on the same database notices that the checkpoint moved, and continues from it.
    """
    runner = ProjectionRunner(ReadModel(), store, source.recorded.read, _leave_out)
    await store.reset()
    while True:
        after = (await runner.start()).position
        try:
            async for batch in source.raw_batches(after, source.last):
                await runner.apply(batch, batch[-1].position)
        except CheckpointMovedError:
            continue
        return runner.checkpoint.position


async def _leave_out(_: RawEvent, __: str) -> None:
    """Leave out what cannot be applied: the projector that read it first has dead-lettered it."""


def compare(expected: dict[RowKey, Row], found: dict[RowKey, Row]) -> list[Mismatch]:
    """Return what differs between rows as they should be and as they are, by position."""
    mismatches: list[Mismatch] = []
    for key in expected.keys() | found.keys():
        table, row_key = key
        want, have = expected.get(key), found.get(key)
        position = int((want or have or {}).get("position") or 0)
        if want is None:
            mismatches.append(Mismatch(position, f"{table} {row_key}", "no such row", _shown(have)))
        elif have is None:
            mismatches.append(Mismatch(position, f"{table} {row_key}", _shown(want), "no such row"))
        else:
            for column in want:
                if want[column] != have.get(column):
                    what = f"{table} {row_key}, {column}"
                    mismatches.append(Mismatch(position, what, _shown(want[column]), _shown(have.get(column))))
    return sorted(mismatches, key=lambda mismatch: (mismatch.position, mismatch.what))


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "..."
