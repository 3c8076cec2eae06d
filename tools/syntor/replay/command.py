"""What `syntor replay` does: rebuild, verify, or show the state at a position."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from syntor.contracts.errors import InvalidInputError
from syntor.eventsourcing.verification import Claim, Damage
from syntor.projections.database import open_store
from syntor.projections.projection import NotApplied
from syntor.projections.store import DamagedError, ReadModelStore
from syntor.projector.domain.read_model import ReadModel
from syntor.replay.decisions import DecisionChecker, Mismatch
from syntor.replay.integrity import verify_log
from syntor.replay.read_models import compare, fold, rebuild
from syntor.replay.source import FileSource, LogSource, Source

_CATCH_UP_S = 10.0  # a live projector reaches the end of the log within this
_LOOK_EVERY_S = 0.02


class Skipped(msgspec.Struct):
    """An event that could not be applied."""

    position: int
    subject: str
    cause: str


class Report(msgspec.Struct):
    """What a replay found."""

    action: str
    position: int
    events: int = 0
    decisions: int = 0
    rows: int = 0
    duration_s: float = 0.0
    mismatches: list[Mismatch] = []
    not_applied: list[Skipped] = []
    """Events a read model or a decision could not be made from; both are compared without them."""
    damage: list[Damage] = []
    """Parts of the log that are not as they were appended."""


async def rebuild_all(
    source: LogSource, database_url: str, report_damage: Callable[[str], None] = lambda _: None
) -> Report:
    """Build the read models of a database anew.

    Args:
        report_damage: is told what became of a damaged database.
    """
    began = time.perf_counter()
    store = open_store(database_url)
    try:
        try:
            await store.open(ReadModel())
        except DamagedError as exc:
            report_damage(f"{exc}: {await store.start_over()}")
        position = await rebuild(source, store)
        rows = len((await store.snapshot())[1])
    finally:
        await store.close()
    return Report("rebuilt", position, rows=rows, duration_s=time.perf_counter() - began)


async def verify_all(source: LogSource, database_url: str) -> Report:
    """Verify the log, compare the live read models with a rebuild at the same position, and repeat every decision.

    What a damaged log says is not compared with anything.
    """
    began = time.perf_counter()
    store = open_store(database_url)
    await store.open(ReadModel())
    try:
        await _caught_up(store, source.last)
        checkpoint, found = await store.snapshot()
    finally:
        await store.close()
    position = checkpoint.position
    verifier = await verify_log(source, {"the read model": Claim(position, checkpoint.log_hash)})
    if verifier.damage:
        report = Report("verified", position, verifier.events, rows=len(found), damage=verifier.damage)
        report.duration_s = time.perf_counter() - began
        return report
    mismatches: list[Mismatch] = []
    if position < source.last:
        expected = f"the end of the log, {source.last}"
        mismatches.append(Mismatch(position, "checkpoint of the read model", expected, str(position)))
    rows, failed = await fold(source, position)
    mismatches += compare(rows, found)
    checked = await check_decisions(source)
    return Report(
        "verified",
        position,
        checked.events,
        checked.decisions,
        len(found),
        time.perf_counter() - began,
        mismatches + checked.mismatches,
        _skipped(failed) + checked.not_applied,
    )


async def _caught_up(store: ReadModelStore, position: int) -> None:
    """Wait a while for a live projector; it is another process, so there is only its checkpoint to look at."""
    for _ in range(int(_CATCH_UP_S / _LOOK_EVERY_S)):
        if (await store.checkpoint()).position >= position:
            return
        await asyncio.sleep(_LOOK_EVERY_S)


async def verify_file(source: FileSource) -> Report:
    """Decide every decision of an export again, and check its versions."""
    began = time.perf_counter()
    report = await check_decisions(source, sessions_known=False)
    rows, failed = await fold(source, source.last)
    report.rows, report.duration_s = len(rows), time.perf_counter() - began
    report.not_applied = _skipped(failed) + report.not_applied
    return report


def _skipped(failed: list[NotApplied]) -> list[Skipped]:
    return [Skipped(each.recorded.position, each.recorded.subject, each.cause) for each in failed]


async def check_decisions(source: Source, *, sessions_known: bool = True) -> Report:
    """Check versions and decisions; an event that makes a decision raise is reported, and the check continues."""
    checker = DecisionChecker(sessions_known=sessions_known)
    versions: dict[str, int] = {}
    report = Report("verified", source.last)
    mismatches = report.mismatches
    async for batch, _ in source.batches(0, source.last):
        for recorded in batch:
            report.events += 1
            envelope = recorded.envelope
            if envelope.version:
                expected = versions.get(envelope.subject, 0) + 1
                if envelope.version != expected:
                    what = f"version of {envelope.subject}"
                    mismatches.append(Mismatch(recorded.position, what, str(expected), str(envelope.version)))
                versions[envelope.subject] = envelope.version
            try:
                mismatch = checker.feed(recorded)
            except Exception as exc:  # noqa: BLE001 - a report of all that is wrong is what this is for
                cause = f"no decision can be made: {type(exc).__name__}: {exc}"
                report.not_applied.append(Skipped(recorded.position, recorded.subject, cause))
                continue
            if mismatch is not None:
                mismatches.append(mismatch)
    report.decisions = checker.checked
    return report


async def state_at(source: Source, until: str) -> dict[str, Any]:
    """Return runs, sessions and agents as they were at a position or a time (RFC 3339)."""
    position = int(until) if until.isascii() and until.isdecimal() else await _position_at(source, until)
    if position > source.last:
        raise InvalidInputError(f"--until {until}: beyond the end of the log, {source.last}", field="--until")
    rows, _ = await fold(source, position)
    return {"position": position} | {
        table: [row for (name, _), row in sorted(rows.items()) if name == table]
        for table in ("runs", "sessions", "agents")
    }


async def _position_at(source: Source, until: str) -> int:
    try:
        at = datetime.fromisoformat(until)
    except ValueError as exc:
        text = f"--until {until!r}: expected a position or a time such as 2026-11-21T10:00:00Z"
        raise InvalidInputError(text, field="--until") from exc
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    position = 0
    async for batch, _ in source.batches(0, source.last):
        for recorded in batch:
            if recorded.envelope.time <= at:
                position = recorded.position
    return position
