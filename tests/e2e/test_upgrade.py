"""The logs of earlier versions, recorded with runs in flight, are read and continued by today's code.

How they are recorded: `python -m syntor.faults.recorded_log`, see docs/faults.md.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from syntor.agentkit.domain.budget_ledger import BUDGET
from syntor.agentkit.domain.task import TASK
from syntor.contracts.clock import now
from syntor.contracts.run.v1 import TaskAssigned
from syntor.contracts.subjects import ALL_EVENTS
from syntor.contracts.task.v1 import ApprovalRequired
from syntor.eventsourcing.decider import Decider
from syntor.eventsourcing.store import Recorded
from syntor.faults.invariants import version_gaps
from syntor.faults.recorded_log import Expected, read_expected, read_model_digest, restored
from syntor.jetstream.connection import connect
from syntor.jetstream.store import JetStreamStore
from syntor.orchestrator.domain import run, session
from syntor.registry.domain import agent
from syntor.testing.local_stack import LocalStack

LOGS = Path(__file__).parents[1] / "recorded" / "logs"
VERSIONS = sorted(path.stem for path in LOGS.glob("*.json"))
DECIDERS: dict[str, Decider[Any]] = {
    "run": run.DECIDER,
    "session": session.DECIDER,
    "task": TASK,
    "agent": agent.DECIDER,
    "budget": BUDGET,
}
WaitFor = Callable[..., Any]


@pytest.fixture(scope="module", params=VERSIONS)
def expected(request: pytest.FixtureRequest) -> Expected:
    return read_expected(LOGS, request.param)


@pytest.fixture(scope="module")
def stack(expected: Expected, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with restored(LOGS, expected.version, tmp_path_factory.mktemp("upgrade") / "home") as stack:
        yield stack


async def _events(stack: LocalStack, up_to: int) -> list[Recorded]:
    connection = await connect(stack.nats_url, "syntor/test", access=stack.admin)
    try:
        return [recorded async for recorded in JetStreamStore(connection).load(ALL_EVENTS, 0, up_to)]
    finally:
        await connection.close()


def test_a_log_of_every_version_is_kept() -> None:
    assert VERSIONS


def test_every_event_is_read_and_every_aggregate_folds(stack: LocalStack, expected: Expected) -> None:
    events = asyncio.run(_events(stack, expected.position))
    assert Counter(recorded.envelope.subject.partition(".")[0] for recorded in events) == expected.events
    assert events[-1].position == expected.position
    assert version_gaps(events) == []
    assert any(recorded.envelope.previoushash for recorded in events)
    states: dict[str, Any] = {}
    for recorded in events:
        category = recorded.envelope.subject.partition(".")[0]
        if (decider := DECIDERS.get(category)) is not None:
            before = states.get(recorded.envelope.subject, decider.initial)
            states[recorded.envelope.subject] = decider.evolve(before, recorded.event, recorded.envelope.time)
    assert {subject.partition(".")[0] for subject in states} == set(DECIDERS)
    for run_id, status in expected.ended.items():
        assert states[f"run.{run_id}"].status == status
    assert states[f"task.{expected.in_flight}.t1"].open_call == 1
    assert states[f"task.{expected.waiting}.t1"].waits


def test_no_deadline_of_the_runs_in_flight_passes_for_years(stack: LocalStack, expected: Expected) -> None:
    """A log recorded with the true time would be continued for minutes only, or until its approval expires."""
    in_flight = [
        recorded.event
        for recorded in asyncio.run(_events(stack, expected.position))
        if recorded.envelope.runid in (expected.in_flight, expected.waiting)
    ]
    ends = [event.deadline_at for event in in_flight if isinstance(event, TaskAssigned)]
    ends += [event.expires_at for event in in_flight if isinstance(event, ApprovalRequired)]
    assert len(ends) == 3
    assert min(end for end in ends if end is not None) > now() + timedelta(days=365)


def test_the_read_model_is_the_one_recorded(stack: LocalStack, expected: Expected) -> None:
    """The digest is written anew after a change that is meant: `recorded_log digest tests/recorded/logs`."""
    assert asyncio.run(read_model_digest(stack, expected.position)) == expected.digest


def test_runs_in_flight_continue_to_their_ends(stack: LocalStack, expected: Expected, wait_for: WaitFor) -> None:
    with httpx2.Client(base_url=stack.url, timeout=30) as api:
        events = wait_for(lambda: _ended(api, expected.in_flight), 60)
        types = Counter(event["type"] for event in events)
        assert (types["run_done"], types["llm_call_started"], types["llm_call_done"]) == (1, 2, 1)
        path = f"/v1/runs/{expected.waiting}/approvals"
        [approval] = api.get(path, params={"status": "pending"}).json()["approvals"]
        decision = {"approved": False, "content_hash": approval["content_hash"]}
        assert api.post(f"{path}/{approval['approval_id']}", json=decision).status_code == 200
        wait_for(lambda: _ended(api, expected.waiting), 60)
        for run_id, status in expected.ended.items():
            assert api.get(f"/v1/runs/{run_id}").json()["status"] == status
    verified = stack.syntor("replay", "--verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def _ended(api: httpx2.Client, run_id: str) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = api.get(f"/v1/runs/{run_id}/events", params={"limit": 1000}).json()["events"]
    return events if events[-1]["type"].startswith("run_") and events[-1]["type"] != "run_started" else []
