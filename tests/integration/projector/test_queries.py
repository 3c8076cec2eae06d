"""The projector serves queries from its read model, and refuses parameters out of bounds by name."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from syntor.contracts.envelope import Lineage
from syntor.contracts.errors import InvalidInputError, LogBehindError, SyntorError
from syntor.contracts.rpc.v1 import (
    GET_RUN,
    LIST_APPROVALS,
    LIST_MESSAGES,
    LIST_RUNS,
    LIST_SESSIONS,
    PROJECTOR,
    Cut,
    GetRun,
    ListMessages,
    ListRuns,
    MessagePage,
    RunPage,
    RunView,
)
from syntor.contracts.run.v1 import RunDone
from syntor.contracts.topology import EVENTS
from syntor.jetstream.admin import stream_state
from syntor.jetstream.requests import Service, call
from syntor.projections.database import open_store
from syntor.projector.domain.read_model import ReadModel
from syntor.projector.queries import Queries
from syntor.projector.subscription import ProjectionSubscription
from syntor.runtime.set_aside import found_aside
from syntor.testing.events import new_event, user_input

TOO_LARGE = (2**63, 10**30)


@pytest.fixture
async def projector(log: Any, tmp_path: Path) -> AsyncIterator[Service]:
    """A projector on SQLite, subscribed to the log."""
    store = open_store(f"sqlite:///{tmp_path}/rows.db")
    await store.open(ReadModel())
    subscription = ProjectionSubscription(log.connection, log.store, store, ReadModel())

    async def last_position() -> int:
        return (await stream_state(log.connection, EVENTS)).last

    queries = Queries(store, subscription.runner, ReadModel.name, last_position, log.connection.max_payload)
    service = Service(log.connection, PROJECTOR, version="1.0.0", description="", endpoints=queries.endpoints())
    running = asyncio.create_task(subscription.run())
    await service.start()
    yield service
    await service.stop(1.0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await store.close()


async def test_a_run_is_listed_once_its_position_is_applied(log: Any, projector: Service) -> None:
    position = await log.store.append(user_input("r1"), 0)

    page = await call(log.connection, PROJECTOR, LIST_RUNS, ListRuns(min_position=position), RunPage)

    assert [run.run_id for run in page.runs] == ["r1"]
    assert page.position == position


@pytest.mark.parametrize("endpoint", [LIST_RUNS, LIST_SESSIONS, LIST_MESSAGES, LIST_APPROVALS])
@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field in ("before", "min_position", "limit") for value in (*TOO_LARGE, -1)],
)
async def test_a_number_out_of_bounds_is_refused_by_name_and_the_projector_keeps_serving(
    log: Any, projector: Service, caplog: pytest.LogCaptureFixture, endpoint: str, field: str, value: int
) -> None:
    request = msgspec.defstruct("Request", [("session_id", str), (field, msgspec.Raw)])
    with pytest.raises(InvalidInputError, match=field) as caught:
        await call(log.connection, PROJECTOR, endpoint, request("s1", msgspec.Raw(str(value).encode())), RunPage)
    assert caught.value.field == field

    assert "request_failed" not in caplog.text
    assert (await call(log.connection, PROJECTOR, LIST_RUNS, ListRuns(), RunPage)).runs == []


@pytest.mark.parametrize(("field", "value"), [("status", "ended"), ("session_id", "x" * 10_000)])
async def test_another_value_out_of_bounds_is_refused_by_name(
    log: Any, projector: Service, caplog: pytest.LogCaptureFixture, field: str, value: str
) -> None:
    request = msgspec.defstruct("Request", [(field, str)])
    with pytest.raises(InvalidInputError) as caught:
        await call(log.connection, PROJECTOR, LIST_RUNS, request(value), RunPage)
    assert caught.value.field == field
    assert "request_failed" not in caplog.text


async def test_the_largest_position_finds_every_run(log: Any, projector: Service) -> None:
    position = await log.store.append(user_input("r1"), 0)

    query = ListRuns(before=2**63 - 1, min_position=position, limit=500)
    page = await call(log.connection, PROJECTOR, LIST_RUNS, query, RunPage)

    assert [run.run_id for run in page.runs] == ["r1"]


async def test_a_position_beyond_the_end_of_the_log_is_said_with_the_end(log: Any, projector: Service) -> None:
    position = await log.store.append(user_input("r1"), 0)

    with pytest.raises(LogBehindError, match=f"{position + 1} is beyond the end of the log, {position}"):
        await call(log.connection, PROJECTOR, LIST_RUNS, ListRuns(min_position=position + 1), RunPage)


async def test_pages_end_where_a_message_would_be_too_large_and_say_where_the_rest_is(
    log: Any, projector: Service
) -> None:
    answer, position = "x" * 490_000, 0
    for number in range(3):
        run_id = f"r{number}"
        await log.store.append(user_input(run_id, content="\u0001" * 900_000), 0)
        position = await log.store.append(new_event(run_id, RunDone(final_message=answer), version=0), None)
    listed = await call(log.connection, PROJECTOR, LIST_RUNS, ListRuns(min_position=position, limit=500), RunPage)
    assert [run.run_id for run in listed.runs] == ["r2", "r1", "r0"]
    assert listed.runs[0].cut["final_message"] == Cut(size=490_000, whole="/v1/runs/r2")
    assert listed.runs[0].cut["input"].size == 900_000
    run = await call(log.connection, PROJECTOR, GET_RUN, GetRun(run_id="r0"), RunView)
    assert (len(run.final_message), len(run.input), run.cut) == (490_000, 900_000, {})


async def test_a_list_of_more_than_a_message_takes_is_read_page_by_page(log: Any, projector: Service) -> None:
    texts = [f"{number} " + "\u0001" * 63_000 for number in range(40)]  # 15 MB of JSON
    position = 0
    for number, text in enumerate(texts):
        lineage = Lineage(run_id=f"r{number}", session_id="s1")
        new = msgspec.structs.replace(user_input(f"r{number}", content=text), lineage=lineage)
        position = await log.store.append(new, 0)
    found: list[str] = []
    before: int | None = 0
    pages = 0
    while before is not None:
        query = ListMessages(session_id="s1", limit=500, before=before, min_position=position)
        page = await call(log.connection, PROJECTOR, LIST_MESSAGES, query, MessagePage)
        found = [message.content for message in page.messages] + found
        before, pages = page.cursor, pages + 1
    assert found == texts
    assert pages > 1


async def test_each_answer_follows_its_question_where_turns_waited_for_each_other(log: Any, projector: Service) -> None:
    position = 0
    for run_id in ("r1", "r2", "r3"):
        new = user_input(run_id, content=f"question of {run_id}")
        await log.store.append(msgspec.structs.replace(new, lineage=Lineage(run_id=run_id, session_id="s1")), 0)
    for run_id in ("r1", "r2", "r3"):
        done = new_event(run_id, RunDone(final_message=f"answer of {run_id}"), version=0)
        done = msgspec.structs.replace(done, lineage=Lineage(run_id=run_id, session_id="s1"))
        position = await log.store.append(done, None)
    expected = [f"{what} of {run_id}" for run_id in ("r1", "r2", "r3") for what in ("question", "answer")]
    for limit in (1, 2, 3, 500):  # pages that end within a turn, too
        found: list[str] = []
        before: int | None = 0
        while before is not None:
            query = ListMessages(session_id="s1", limit=limit, before=before, min_position=position)
            page = await call(log.connection, PROJECTOR, LIST_MESSAGES, query, MessagePage)
            found = [message.content for message in page.messages] + found
            before = page.cursor
        assert found == expected


@pytest.mark.parametrize("damage", ["noise", "removed"])
async def test_a_read_model_damaged_while_the_log_is_quiet_is_rebuilt_from_it(
    log: Any, projector: Service, tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "rows.db"
    position = await log.store.append(user_input("r1"), 0)
    await call(log.connection, PROJECTOR, LIST_RUNS, ListRuns(min_position=position), RunPage)
    if damage == "noise":
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with path.open("r+b") as file:
            file.write(b"noise" * (path.stat().st_size // 5))
    else:
        path.unlink()
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(SyntorError):  # until it is rebuilt
                page = await call(log.connection, PROJECTOR, LIST_RUNS, ListRuns(), RunPage)
                if path.exists() and path.read_bytes()[:6] == b"SQLite" and page.runs:
                    break
            await asyncio.sleep(0.05)  # polls another process
    assert [run.run_id for run in page.runs] == ["r1"]
    assert len(found_aside(tmp_path)) == (1 if damage == "noise" else 0)
