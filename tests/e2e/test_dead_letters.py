"""A message that cannot be handled is dead-lettered with its cause, and its run fails visibly."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from syntor.jetstream.connection import connect
from syntor.testing.local_stack import LocalStack

Json = dict[str, Any]
Wait = Callable[..., Any]


def _publish(stack: LocalStack, subject: str, payload: bytes) -> int:
    async def publish() -> int:
        connection = await connect(stack.nats_url, "syntor/test", access=stack.admin)
        try:
            reply = await connection.request(subject, payload)
            return int(json.loads(reply.payload)["seq"])
        finally:
            await connection.close()

    return asyncio.run(publish())


def _start(http: httpx2.Client, text: str) -> str:
    run_id: str = http.post("/v1/runs", json={"agent": "worker", "input": text}).json()["run_id"]
    return run_id


def _ended(http: httpx2.Client, run_id: str) -> Json | None:
    run: Json = http.get(f"/v1/runs/{run_id}").json()
    return run if run["ended_at"] else None


@pytest.mark.parametrize(
    ("payload", "cause"),
    [
        (b"not an envelope", "malformed"),
        (b'{"specversion":"1.0"', "truncated"),
        (b'{"specversion":"1.0","id":"x","source":"syntor/x","type":"task_assigned","subject":"run.r","time":'
         b'"2026-11-21T00:00:00Z","dataschema":"syntor:run/task_assigned.v99","data":{}}', "v99"),
    ],
)  # fmt: skip
def test_a_poison_message_of_a_run_fails_that_run_and_no_other(
    stack: LocalStack, http: httpx2.Client, wait_for: Wait, payload: bytes, cause: str
) -> None:
    run_id = _start(http, "slow")
    position = _publish(stack, f"syntor.events.run.{run_id}.task_assigned.worker", payload)
    run = wait_for(lambda: _ended(http, run_id))
    assert run["status"] == "failed"
    assert run["error_code"] in ("message_dead_lettered", "unreadable_log")  # what comes first tells why
    letter = next(
        each for each in http.get("/v1/dead_letters").json()["letters"]
        if each["position"] == position and each["consumer"] == "agents-worker"
    )  # fmt: skip
    assert letter["payload"] == payload.decode()
    if cause == "v99":
        assert "v99" in letter["cause"]
    other = _start(http, "hello")
    assert wait_for(lambda: _ended(http, other))["status"] == "done"


def test_dead_letters_are_listed_shown_retried_and_dropped(
    stack: LocalStack, http: httpx2.Client, wait_for: Wait
) -> None:
    run_id = _start(http, "slow")
    position = _publish(stack, f"syntor.events.run.{run_id}.task_assigned.worker", b"poison")
    assert wait_for(lambda: _ended(http, run_id))["status"] == "failed"
    assert f"run.{run_id}.task_assigned" in stack.syntor("dlq", "list").stdout
    letters = http.get("/v1/dead_letters", params={"limit": 500}).json()["letters"]
    by_worker = [each for each in letters if each["consumer"] == "agents-worker"]
    number = next(each["number"] for each in by_worker if each["position"] == position)
    shown = stack.syntor("dlq", "show", str(number)).stdout
    assert "poison" in shown
    assert f"position         {position}" in shown
    retried = stack.syntor("dlq", "retry", str(number))
    assert retried.returncode == 0, retried.stderr
    assert "one two three" in retried.stdout
    assert stack.syntor("dlq", "show", str(number)).returncode == 1
    for each in http.get("/v1/dead_letters", params={"limit": 500}).json()["letters"]:
        assert stack.syntor("dlq", "drop", str(each["number"])).returncode == 0
    assert stack.syntor("dlq", "list").stdout.strip() == "no dead letters"
    assert stack.syntor("dlq", "drop", "1").returncode == 1
    assert http.get("/v1/dead_letters/abc").status_code == 404


def test_a_poison_message_of_no_run_is_dead_lettered_and_nothing_stops(
    stack: LocalStack, http: httpx2.Client, wait_for: Wait
) -> None:
    for subject in (
        "run.unknown.user_input",
        "session.s.turn_taken",
        "task.unknown.t1.agent_invoke_done",
        "agent.x.agent_registered",
    ):
        _publish(stack, f"syntor.events.{subject}", b"\xff\x00 nonsense")
    run_id = _start(http, "hello")
    assert wait_for(lambda: _ended(http, run_id))["status"] == "done"
    restarts = {row["name"]: row["restarts"] for row in stack.status()["services"]}
    assert set(restarts.values()) == {0}, restarts


def test_the_read_models_equal_a_rebuild_after_all_that(stack: LocalStack) -> None:
    verified = stack.syntor("replay", "--verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
