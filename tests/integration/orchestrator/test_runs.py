"""Runs decided on a real server: their order, their ends, deadlines, deaths at every append, several instances."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import datetime
from typing import Any

import msgspec
import pytest

from syntor.contracts.envelope import encode_envelope
from syntor.contracts.events import Event
from syntor.contracts.run.v1 import Budget, RunCancelled, RunFailed, RunStarted, TaskAssigned, UserInput
from syntor.contracts.task.v1 import AgentInvokeDone, AgentInvokeFailed
from syntor.contracts.topology import DEAD_LETTERS, ORCHESTRATOR_DECISIONS, TIMERS
from syntor.jetstream.admin import consumer_info, stream_state
from syntor.jetstream.consumer import Delivery
from syntor.jetstream.direct_reader import DirectReader
from syntor.orchestrator.domain import run as runs
from syntor.testing.events import new_event

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
LOST = AgentInvokeFailed(code="model_unavailable", message="away", retryable=True)
ENDS = {"run_done", "run_failed", "run_cancelled"}


async def test_a_run_from_the_first_event_to_the_last(scene: Any, start: Any, wrong: Any) -> None:
    await start()
    first = await scene.ask("r1", traceparent=TRACE)
    await scene.until_over("r1")
    events = scene.of("r1")
    assert scene.types("r1") == [
        "user_input", "turn_taken", "run_started", "task_assigned", "agent_invoke_started", "agent_invoke_done",
        "run_done", "turn_released",
    ]  # fmt: skip
    ids = {recorded.envelope.id: recorded for recorded in events}
    for recorded in events:
        if recorded.envelope.source == "syntor/orchestrator":
            cause = ids[recorded.envelope.causationid]
            assert cause.envelope.type == (
                "user_input" if recorded.position < events[4].position else "agent_invoke_done"
            )
            assert recorded.envelope.time == cause.envelope.time
            assert recorded.envelope.firstposition == first
            assert recorded.traceparent[:36] == TRACE[:36] if cause is events[0] else recorded.traceparent == ""
    task = events[3].event
    assert isinstance(task, TaskAssigned)
    assert task.deadline_at is not None
    assert (task.deadline_at - events[0].envelope.time).total_seconds() == 60
    assert wrong() == []


async def test_the_deadline_of_an_ended_run_is_forgotten(log: Any, scene: Any, start: Any) -> None:
    await start()
    scene.answers["r2"] = [None]
    await scene.ask("r1", "s1")
    await scene.ask("r2", "s2")
    await scene.until(lambda: "agent_invoke_started" in scene.types("r2"))
    await scene.cancel("r2")
    await scene.until_over("r1", "r2")
    await _until_idle(log)
    assert (await stream_state(log.connection, TIMERS)).messages == 0


async def _until_idle(log: Any) -> None:
    """Wait until every trigger was acknowledged."""
    async with asyncio.timeout(10):
        while True:
            info = await consumer_info(log.connection, ORCHESTRATOR_DECISIONS)
            if not info.pending and not info.ack_pending:
                return


async def test_a_run_unknown_answers_fails_at_its_deadline_and_frees_the_session(
    scene: Any, start: Any, wrong: Any
) -> None:
    await start()
    scene.answers["r1"] = [None]
    await scene.ask("r1", timeout_s=0.5, traceparent=TRACE)
    await scene.ask("r2")
    await scene.until_over("r1", "r2")
    failed = next(recorded for recorded in scene.of("r1") if isinstance(recorded.event, RunFailed))
    assert failed.event.code == "timeout"
    assert failed.traceparent[:36] == TRACE[:36]
    task = next(recorded.event for recorded in scene.of("r1") if isinstance(recorded.event, TaskAssigned))
    assert failed.envelope.time == task.deadline_at
    assert "run_done" in scene.types("r2")
    assert wrong() == []


async def test_a_failure_worth_another_try_is_tried_three_times(scene: Any, start: Any, wrong: Any) -> None:
    await start()
    scene.answers["r1"] = [LOST, LOST, LOST]
    scene.answers["r2"] = [LOST, AgentInvokeDone(final_message="at last")]
    await scene.ask("r1")
    await scene.ask("r2", "s2")
    await scene.until_over("r1", "r2")
    assert Counter(scene.types("r1"))["task_assigned"] == 3
    assert "run_failed" in scene.types("r1")
    assert "run_done" in scene.types("r2")
    assert wrong() == []


async def test_cancelling_works_while_waiting_and_while_working(scene: Any, start: Any, wrong: Any) -> None:
    await start()
    scene.answers["r1"] = [None]
    for run_id in ("r1", "r2", "r3"):
        await scene.ask(run_id)
    await scene.until(lambda: "turn_queued" in scene.types("r3"))
    await scene.cancel("r2")
    await scene.until_over("r2")
    await scene.cancel("r1")
    await scene.until_over("r1", "r2", "r3")
    assert "run_started" not in scene.types("r2")
    for run_id in ("r1", "r2"):
        end = next(recorded.event for recorded in scene.of(run_id) if recorded.envelope.type in ENDS)
        assert end == RunCancelled(reason="enough", requested_by="me")
    started = next(recorded.event for recorded in scene.of("r3") if isinstance(recorded.event, RunStarted))
    assert started.history == ["r1"]
    assert wrong() == []


async def test_a_run_without_a_session_need_not_wait(scene: Any, start: Any, wrong: Any) -> None:
    await start()
    await scene.ask("r1", "")
    await scene.until_over("r1")
    assert not {"turn_taken", "turn_released"} & set(scene.types("r1"))
    assert wrong() == []


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("dies_at", range(1, 9))
async def test_a_death_at_any_append_is_mended_by_the_message_that_comes_again(
    scene: Any, start: Any, wrong: Any, dies_at: int, stored: bool
) -> None:
    scene.answers["r1"] = [LOST, AgentInvokeDone(final_message="at last")]
    await scene.ask("r1")
    await scene.ask("r2")
    instance = await start(dies_at=dies_at, stored=stored)
    await scene.until_over("r1", "r2")
    assert instance.store.count > dies_at
    for run_id, attempts in (("r1", 2), ("r2", 1)):
        types = Counter(scene.types(run_id))
        assert types["run_started"] == types["run_done"] == types["turn_taken"] == types["turn_released"] == 1
        assert types["task_assigned"] == attempts
    assert wrong() == []


async def test_two_instances_race_and_turns_never_interleave(log: Any, scene: Any, start: Any, wrong: Any) -> None:
    run_ids = [f"r{number}" for number in range(120)]
    for number, run_id in enumerate(run_ids):
        if number % 5 == 1:
            scene.answers[run_id] = [LOST, AgentInvokeDone(final_message="at last")]
    await asyncio.gather(start(), start())
    await asyncio.gather(*(scene.ask(run_id, f"s{number % 7}") for number, run_id in enumerate(run_ids)))
    await asyncio.gather(*(scene.cancel(run_id) for run_id in run_ids[::11]))
    await scene.until_over(*run_ids)
    await _until_idle(log)
    ends = Counter(recorded.envelope.runid for recorded in scene.events if recorded.envelope.type in ENDS)
    assert ends == Counter(run_ids)
    assert wrong() == []
    turns: dict[str, list[str]] = {}
    for recorded in scene.events:
        if isinstance(recorded.event, RunStarted):
            session = turns.setdefault(recorded.envelope.sessionid, [])
            assert set(session) <= set(recorded.event.history)
            session.append(recorded.envelope.runid)


async def test_everything_delivered_again_adds_nothing(log: Any, scene: Any, start: Any) -> None:
    instance = await start()
    for number in range(6):
        await scene.ask(f"r{number}", f"s{number % 2}")
    await scene.cancel("r5")
    await scene.until_over(*(f"r{number}" for number in range(6)))
    await _until_idle(log)
    before = await stream_state(log.connection, "SYNTOR_EVENTS")
    forgetful = await start()
    triggers = {"user_input", "cancel_requested", "turn_taken", "agent_invoke_done", "agent_invoke_failed"}
    for recorded in list(scene.events):
        if recorded.envelope.type in triggers:
            for decisions in (instance.decisions, forgetful.decisions):
                await decisions.handle(Delivery(recorded, 2, False, 0))
    assert await stream_state(log.connection, "SYNTOR_EVENTS") == before


async def test_a_request_of_no_run_is_dead_lettered_with_its_cause(log: Any, scene: Any, start: Any) -> None:
    await start()
    await scene.cancel("unknown")
    await scene.ask("r1")
    await scene.until_over("r1")
    await _until_idle(log)
    letter = await DirectReader(log.connection, DEAD_LETTERS).last("syntor.dlq.>")
    assert letter is not None
    assert b"unknown" in letter.payload


# what one message makes the domain raise


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the fold of a run raise for one of its messages, as a defect does."""
    evolve = runs.evolve

    def raising(run: Any, event: Event, at: datetime, task_id: str = "") -> Any:
        if isinstance(event, AgentInvokeDone) and event.final_message == "poison":
            raise OverflowError("date value out of range")
        return evolve(run, event, at, task_id)

    monkeypatch.setattr(runs, "evolve", raising)


async def test_a_message_that_makes_the_fold_raise_fails_its_run_and_no_other(
    scene: Any, start: Any, poisoned: None
) -> None:
    instance = await start(dead_letters_recorded=True)
    scene.answers["r1"] = [AgentInvokeDone(final_message="poison")]
    await scene.ask("r1", session_id="s1")
    await scene.ask("r2", session_id="s2")
    await scene.ask("r3", session_id="s1")  # queued behind the poisoned one
    await scene.until_over("r1", "r2", "r3")

    assert {run_id for run_id in ("r1", "r2", "r3") if "run_done" in scene.types(run_id)} == {"r2", "r3"}
    [failed] = [each.event for each in scene.of("r1") if isinstance(each.event, RunFailed)]
    assert failed.code == "message_dead_lettered"
    assert "OverflowError: date value out of range" in failed.message
    assert not any(consumer.failed.done() for consumer in instance.consumers)


async def test_a_request_that_cannot_be_read_fails_its_run_with_the_cause(log: Any, scene: Any, start: Any) -> None:
    await start(dead_letters_recorded=True)
    scene.answers["r1"] = [None]
    await scene.ask("r1")
    await scene.until(lambda: "agent_invoke_started" in scene.types("r1"))
    await log.connection.request("syntor.events.request.r1.cancel_requested", b"nonsense")
    await scene.until_over("r1")

    [failed] = [each.event for each in scene.of("r1") if isinstance(each.event, RunFailed)]
    assert failed.code in ("message_dead_lettered", "unreadable_log")


async def test_a_message_of_another_era_stops_nothing(log: Any, scene: Any, start: Any) -> None:
    await start(dead_letters_recorded=True)
    for number, time in enumerate(("9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "2026-01-01T00:00:00")):
        event = UserInput(agent="git", queue="git", content="x", budget=Budget(max_wall_time_s=3600))
        payload = encode_envelope(new_event(f"era{number}", event).envelope())
        message = msgspec.json.decode(payload) | {"time": time}
        await log.connection.request(f"syntor.events.run.era{number}.user_input", msgspec.json.encode(message))
    await scene.ask("r1")
    await scene.until_over("r1")
    await _until_idle(log)

    assert "run_done" in scene.types("r1")
    letters = [await DirectReader(log.connection, DEAD_LETTERS).get(number) for number in (1, 2, 3)]
    assert all(letter is not None for letter in letters)
