"""Checks that the log is as it was appended: whole where it is small, else from a checkpoint near its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from pathlib import Path

from syntor.cli.damage import RESTORE, damage_line
from syntor.cli.finding import Finding, note, ok, problem
from syntor.contracts.errors import NotFoundError, SyntorError
from syntor.projections.store import STATE_TABLE, Checkpoint
from syntor.stack import seal, unsealed
from syntor.stack.layout import Layout
from syntor.stack.nats_log import file_warnings

_NAME = "integrity"
_TIMEOUT_S = 3.0
_WHOLE = "all of the log: syntor replay --verify"


def read_model_checkpoint(home: Path) -> Checkpoint:
    """Return the checkpoint of the local read models; of position 0 where they are external, or missing."""
    path = Layout(home).database
    if os.environ.get("SYNTOR_DATABASE_URL") or not path.exists():
        return Checkpoint()
    sql = f"SELECT {', '.join(Checkpoint.__struct_fields__)} FROM {STATE_TABLE} ORDER BY position DESC LIMIT 1"
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=_TIMEOUT_S)) as database:
            row = database.execute(sql).fetchone()
    except sqlite3.Error:
        return Checkpoint()
    return Checkpoint(*row) if row else Checkpoint()


def integrity_finding(nats_url: str, read: Checkpoint) -> Finding:
    """Verify the log of a server; `read` is what the read models recorded of it."""
    from syntor.eventsourcing.verification import Claim, LogVerifier, worst
    from syntor.replay.integrity import verify_log
    from syntor.replay.source import open_log
    from syntor.stack.admin_access import admin_access

    async def verified() -> tuple[LogVerifier, int]:
        async with open_log(nats_url, admin_access(os.environ)) as source:
            claims = {"the read model": Claim(read.position, read.log_hash)}
            return await verify_log(source, claims, quick=True), source.last

    try:
        log, last = asyncio.run(verified())
    except NotFoundError as exc:  # the stream is missing, which is a finding of its own
        return problem(_NAME, str(exc), RESTORE)
    except SyntorError as exc:
        return problem(_NAME, f"the log cannot be read: {exc}", "syntor logs nats")
    if (found := worst(log.damage)) is not None:
        more = f" (and {len(log.damage) - 1} more places)" if len(log.damage) > 1 else ""
        return problem(_NAME, damage_line(found) + more, f"{_WHOLE}; {RESTORE}")
    if read.damage:
        return problem(_NAME, f"the projector found: {read.damage}", f"{_WHOLE}; {RESTORE}")
    text = f"{log.events} events up to position {log.position} are as they were appended"
    return ok(_NAME, text) if log.events >= last else note(_NAME, text, _WHOLE)


def sealed_findings(store: Path) -> list[Finding]:
    """Compare the files of a stopped stack's log with their seal."""
    if reason := unsealed.marked(store):
        return [problem(_NAME, reason, RESTORE)]
    changed = seal.changed(store)
    if changed is None:
        return []
    if not changed:
        return [ok(_NAME, "no file of the log changed since the last stop")]
    return [
        note(_NAME, f"{each.text}; the next start restores it")
        if each.file.is_restorable
        else problem(_NAME, f"{each.text}: the stack does not start", RESTORE)
        for each in changed
    ]


def server_findings(log: Path) -> list[Finding]:
    """Return what nats-server warned about its files since it was last started."""
    warnings = file_warnings(log)
    if not warnings:
        return []
    text = f"nats-server found damaged files: {warnings[0][:300]}"
    more = f" (and {len(warnings) - 1} more warnings)" if len(warnings) > 1 else ""
    return [note("store", text + more, f"it left out or rebuilt them; {_WHOLE}; syntor logs nats")]
