"""A task is worked on once: a stalled instance keeps it, a dead one is replaced, and the newest attempt wins."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from syntor.contracts.topology import TASK_ACK_WAIT_S, task_queue_consumer
from syntor.jetstream.admin import ensure_consumer
from syntor.jetstream.connection import connect
from syntor.testing.local_stack import LocalStack

SCRIPT = """
rules:
  - match: twelve
    text: one two three four five six seven eight nine ten eleven twelve
    chunk_words: 1
    chunk_delay_s: 1.0
  - text: The scripted answer.
"""
WaitFor = Callable[..., Any]
TAKEOVER_S = 5.0


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    local = LocalStack(tmp_path_factory.mktemp("home"), script=SCRIPT)
    local.up("--durability", "fast")
    yield local
    local.down()


@pytest.fixture
def second(stack: LocalStack, tmp_path: Path, wait_for: WaitFor) -> Iterator[subprocess.Popen[bytes]]:
    """A second instance of the worker agent, named `second`."""
    environ = stack.environ | {
        "SYNTOR_NATS_URL": stack.nats_url,
        "SYNTOR_NATS_KEYS": str(stack.home / "nats-keys"),
        "SYNTOR_HEALTH_PORT": "0",
        "SYNTOR_INSTANCE": "second",
    }
    log = tmp_path / "second.log"
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-m", "syntor.agents.worker"], env=environ, stderr=output)
    wait_for(lambda: httpx2.get(f"{stack.url}/v1/agents/worker").json()["instances"] == 2)
    yield process
    process.send_signal(signal.SIGCONT)
    process.terminate()
    process.wait(30)


def _start(stack: LocalStack) -> str:
    request = {"agent": "worker", "input": "count to twelve"}
    run_id: str = httpx2.post(f"{stack.url}/v1/runs", json=request, timeout=10).json()["run_id"]
    return run_id


def _events(stack: LocalStack, run_id: str) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = httpx2.get(f"{stack.url}/v1/runs/{run_id}/events?limit=1000", timeout=10).json()[
        "events"
    ]
    return events


def _has(stack: LocalStack, run_id: str, type_: str, count: int = 1) -> list[dict[str, Any]]:
    events = _events(stack, run_id)
    return events if Counter(event["type"] for event in events)[type_] >= count else []


def _checked(events: list[dict[str, Any]], deaths: int) -> None:
    """Check that the task ended once, by its newest attempt, after no more model calls than deaths allow."""
    types = Counter(event["type"] for event in events)
    assert types["run_done"] == types["agent_invoke_done"] == types["llm_call_done"] == 1
    assert types["llm_call_started"] <= 1 + deaths
    versions = [event["version"] for event in events if event["subject"].startswith("task.")]
    assert versions == list(range(1, len(versions) + 1))


def test_a_stall_shorter_than_the_lease_costs_no_second_model_call(stack: LocalStack, wait_for: WaitFor) -> None:
    run_id = _start(stack)
    wait_for(lambda: _has(stack, run_id, "agent_stream_delta"))
    pid = stack.service("agent-worker")["pid"]
    os.kill(pid, signal.SIGSTOP)
    threading.Event().wait(2.5)
    os.kill(pid, signal.SIGCONT)
    events = wait_for(lambda: _has(stack, run_id, "run_done"))
    _checked(events, deaths=0)
    assert Counter(event["type"] for event in events)["agent_invoke_started"] == 1


def test_the_only_instance_is_killed_in_mid_answer_and_its_successor_continues(
    stack: LocalStack, wait_for: WaitFor
) -> None:
    run_id = _start(stack)
    wait_for(lambda: _has(stack, run_id, "agent_stream_delta"))
    _killed(stack, run_id, stack.service("agent-worker")["pid"], wait_for)


def test_an_instance_is_killed_in_mid_answer_and_another_one_continues(
    stack: LocalStack, second: subprocess.Popen[bytes], wait_for: WaitFor
) -> None:
    run_id = _start(stack)
    events = wait_for(lambda: _has(stack, run_id, "agent_stream_delta"))
    _killed(stack, run_id, _pid_of(stack, events, second), wait_for)


def test_a_stall_longer_than_the_lease_loses_the_task_and_the_loser_appends_nothing(
    stack: LocalStack, second: subprocess.Popen[bytes], wait_for: WaitFor
) -> None:
    asyncio.run(_set_lease(stack, 5.0))
    try:
        run_id = _start(stack)
        events = wait_for(lambda: _has(stack, run_id, "agent_stream_delta"))
        stalled = _pid_of(stack, events, second)
        os.kill(stalled, signal.SIGSTOP)
        try:
            events = wait_for(lambda: _has(stack, run_id, "agent_invoke_started", 2))
            wait_for(lambda: len(_has(stack, run_id, "llm_call_started", 2)) > len(events) + 2)
        finally:
            os.kill(stalled, signal.SIGCONT)
        events = wait_for(lambda: _has(stack, run_id, "run_done"))
    finally:
        asyncio.run(_set_lease(stack, TASK_ACK_WAIT_S))
    _checked(events, deaths=1)  # the second call is the price of a stall longer than the lease
    won = [event for event in events if event["type"] == "agent_invoke_started"][-1]
    after = [event for event in events if event["position"] > won["position"]]
    texts = [event["data"]["text"] for event in after if event["type"] == "agent_stream_delta"]
    assert "".join(texts) == "one two three four five six seven eight nine ten eleven twelve"


def _pid_of(stack: LocalStack, events: list[dict[str, Any]], second: subprocess.Popen[bytes]) -> int:
    """Return the process that works on a run."""
    [started] = [event for event in events if event["type"] == "agent_invoke_started"]
    pid: int = second.pid if started["data"]["instance"] == "second" else stack.service("agent-worker")["pid"]
    return pid


def _killed(stack: LocalStack, run_id: str, pid: int, wait_for: WaitFor) -> None:
    """Kill the process that works on a run; check that another one continues in time."""
    killed_after = _events(stack, run_id)[-1]["position"]
    killed_at = datetime.now().astimezone()
    os.kill(pid, signal.SIGKILL)
    events = wait_for(lambda: _has(stack, run_id, "run_done"), 60)
    _checked(events, deaths=1)
    resumed = next(
        event for event in events if event["type"] == "agent_invoke_started" and event["position"] > killed_after
    )
    took_s = (datetime.fromisoformat(resumed["time"]) - killed_at).total_seconds()
    print(f"taken over after {took_s:.2f} s")
    assert took_s <= TAKEOVER_S


async def _set_lease(stack: LocalStack, seconds: float) -> None:
    connection = await connect(stack.nats_url, "syntor/test", access=stack.admin)
    await ensure_consumer(connection, msgspec.structs.replace(task_queue_consumer("worker"), ack_wait_s=seconds))
    await connection.close()
