"""Timers fire by the server's clock, once, also across restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from syntor.contracts import subjects
from syntor.contracts.envelope import Lineage
from syntor.contracts.errors import InfrastructureError
from syntor.contracts.timer.v1 import TimerFired
from syntor.contracts.topology import TIMERS
from syntor.eventsourcing.store import Recorded
from syntor.jetstream.admin import api
from syntor.jetstream.tail import Tail
from syntor.jetstream.timers import Timers
from syntor.testing.log import Log

ON_BOTH = pytest.mark.parametrize("connection", ["real", "simulated"], indirect=True)

DEADLINE_S = 20.0
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def in_s(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


class FiredTimers:
    """Timers that fired, as the orchestrator reads them."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self.tail = Tail(log.connection, [subjects.TIMERS_FIRED], after=0, stream=TIMERS)
        self._batches = self.tail.batches()

    async def next(self) -> Recorded:
        [raw] = await asyncio.wait_for(anext(self._batches), DEADLINE_S)
        recorded: Recorded = await self._log.store.recorded.read(raw)
        return recorded


@pytest.fixture
async def due(log: Log) -> AsyncIterator[FiredTimers]:
    opened = FiredTimers(log)
    yield opened
    await opened._batches.aclose()
    await opened.tail.close()


async def waiting(log: Any) -> int:
    body = {"subjects_filter": "syntor.timers.schedule.>"}
    state = (await api(log.connection, f"STREAM.INFO.{TIMERS}", body))["state"]
    return len(state.get("subjects") or {})


@ON_BOTH
async def test_a_timer_fires_at_its_time_with_every_field_it_was_set_with(log: Log, due: FiredTimers) -> None:
    at = in_s(1.2)
    event = TimerFired(name="task_deadline", task_id="t1", attempt=2)
    await Timers(log.connection, "orchestrator").set(
        "r1",
        "task-t1",
        at,
        event,
        Lineage(
            run_id="r1",
            session_id="s1",
            correlation_id="0af7651916cd43dd8448eb211c80319c",
            first_position=7,
            traceparent=TRACE,
        ),
    )
    assert await waiting(log) == 1

    recorded = await due.next()

    assert datetime.now(UTC) >= at
    assert datetime.now(UTC) < at + timedelta(seconds=2)
    assert recorded.event == event
    assert recorded.subject == subjects.timer_fired("r1", "task-t1")
    assert subjects.parse_timer_fired(recorded.subject) == ("r1", "task-t1")
    envelope = recorded.envelope
    assert (envelope.runid, envelope.sessionid, envelope.firstposition) == ("r1", "s1", 7)
    assert (envelope.source, envelope.correlationid) == ("syntor/orchestrator", "0af7651916cd43dd8448eb211c80319c")
    assert recorded.traceparent == TRACE
    assert await waiting(log) == 0


@ON_BOTH
async def test_a_time_in_another_zone_is_the_same_instant(log: Log, due: FiredTimers) -> None:
    at = in_s(0.5).astimezone(timezone(timedelta(hours=5)))
    await Timers(log.connection, "test").set("r1", "far", at, TimerFired(name="task_deadline"), Lineage(run_id="r1"))

    assert (await due.next()).event == TimerFired(name="task_deadline")


@ON_BOTH
async def test_a_timer_in_the_past_fires_immediately(log: Log, due: FiredTimers) -> None:
    await Timers(log.connection, "test").set(
        "r1", "late", in_s(-3600), TimerFired(name="task_deadline"), Lineage(run_id="r1")
    )

    assert (await due.next()).event == TimerFired(name="task_deadline")


@ON_BOTH
async def test_setting_a_timer_again_replaces_it(log: Log, due: FiredTimers) -> None:
    timers = Timers(log.connection, "test")
    await timers.set("r1", "a", in_s(3600), TimerFired(name="task_deadline", attempt=1), Lineage(run_id="r1"))
    await timers.set("r1", "a", in_s(0.3), TimerFired(name="task_deadline", attempt=2), Lineage(run_id="r1"))
    await timers.set("r2", "a", in_s(1.5), TimerFired(name="task_deadline", attempt=3), Lineage(run_id="r2"))

    assert (await due.next()).event == TimerFired(name="task_deadline", attempt=2)
    assert (await due.next()).event == TimerFired(name="task_deadline", attempt=3)
    assert await waiting(log) == 0


@ON_BOTH
async def test_a_cancelled_timer_does_not_fire(log: Log, due: FiredTimers) -> None:
    timers = Timers(log.connection, "test")
    await timers.set("r1", "a", in_s(0.5), TimerFired(name="task_deadline", attempt=1), Lineage(run_id="r1"))
    await timers.set("r1", "b", in_s(1.5), TimerFired(name="task_deadline", attempt=2), Lineage(run_id="r1"))

    await timers.cancel("r1", "a")

    assert (await due.next()).event == TimerFired(name="task_deadline", attempt=2)


@ON_BOTH
async def test_all_timers_of_a_run_are_cancelled_and_those_of_other_runs_fire(log: Log, due: FiredTimers) -> None:
    timers = Timers(log.connection, "test")
    await timers.set("r1", "a", in_s(0.4), TimerFired(name="task_deadline", attempt=1), Lineage(run_id="r1"))
    await timers.set("r1", "wait-t1-c1", in_s(0.4), TimerFired(name="wait_expired"), Lineage(run_id="r1"))
    await timers.set("r11", "a", in_s(0.8), TimerFired(name="task_deadline", attempt=2), Lineage(run_id="r11"))

    await timers.cancel_all("r1")

    assert (await due.next()).event == TimerFired(name="task_deadline", attempt=2)
    assert await waiting(log) == 0


@ON_BOTH
async def test_cancelling_a_timer_that_is_not_set_is_not_an_error(log: Log) -> None:
    await Timers(log.connection, "test").cancel("r1", "nothing")


async def test_timers_survive_a_kill_and_overdue_ones_fire_at_the_start(log: Log, due: FiredTimers) -> None:
    timers = Timers(log.connection, "test")
    await timers.set("r1", "soon", in_s(0.3), TimerFired(name="task_deadline", attempt=1), Lineage(run_id="r1"))
    await timers.set("r1", "later", in_s(2.0), TimerFired(name="task_deadline", attempt=2), Lineage(run_id="r1"))

    log.server.kill()
    await asyncio.wait([log.connection.closed], timeout=0.6)  # the first fires while the server is down
    log.server.start()

    assert (await due.next()).event == TimerFired(name="task_deadline", attempt=1)
    assert (await due.next()).event == TimerFired(name="task_deadline", attempt=2)


async def test_a_timer_that_cannot_be_stored_is_an_error(log: Log) -> None:
    await api(log.connection, f"STREAM.DELETE.{TIMERS}")

    with pytest.raises(InfrastructureError):
        await Timers(log.connection, "test").set(
            "r1", "a", in_s(1), TimerFired(name="task_deadline"), Lineage(run_id="r1")
        )
