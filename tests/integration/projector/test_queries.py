"""The projector serves queries from its read model, and refuses parameters out of bounds by name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from syntor.contracts.errors import InvalidInputError
from syntor.contracts.rpc.v1 import (
    LIST_APPROVALS,
    LIST_MESSAGES,
    LIST_RUNS,
    LIST_SESSIONS,
    PROJECTOR,
    ListRuns,
    RunPage,
)
from syntor.jetstream.requests import Service, call
from syntor.projections.database import open_store
from syntor.projector.domain.read_model import ReadModel
from syntor.projector.queries import Queries
from syntor.projector.subscription import ProjectionSubscription
from syntor.testing.events import user_input

TOO_LARGE = (2**63, 10**30)


@pytest.fixture
async def projector(log: Any, tmp_path: Path) -> AsyncIterator[Service]:
    """A projector on SQLite, subscribed to the log."""
    store = open_store(f"sqlite:///{tmp_path}/rows.db")
    await store.open(ReadModel())
    subscription = ProjectionSubscription(log.connection, log.store, store, ReadModel())

    async def last_position() -> int:
        return 0

    queries = Queries(store, subscription.runner, ReadModel.name, last_position)
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
