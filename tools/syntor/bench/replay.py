"""Throughput of replay into SQLite and of verifying the log; the baseline is a bare read of the same log."""

from __future__ import annotations

import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from syntor.contracts import subjects
from syntor.contracts.envelope import Lineage
from syntor.contracts.ids import new_id
from syntor.contracts.run.v1 import RunDone, RunStarted, TaskAssigned, UserInput
from syntor.contracts.session.v1 import TurnReleased, TurnTaken
from syntor.contracts.task.v1 import AgentInvokeDone, AgentInvokeStarted, LlmCallDone, LlmCallStarted, Usage
from syntor.eventsourcing.store import NewEvent
from syntor.jetstream.admin import apply_topology
from syntor.jetstream.connection import Connection, connect
from syntor.jetstream.store import JetStreamStore
from syntor.jetstream.tail import Tail
from syntor.projections.database import open_store
from syntor.projector.domain.read_model import ReadModel
from syntor.replay.integrity import verify_log
from syntor.replay.read_models import rebuild
from syntor.replay.source import open_log
from syntor.testing.nats_server import NatsServer

RUNS = 3000
TARGET_PER_S = 20_000


def main() -> None:
    """Fill a log with whole runs, read it, and rebuild the read models from it."""
    uvloop.run(_measure())


async def _measure() -> None:
    with tempfile.TemporaryDirectory(prefix="syntor-bench-") as folder, NatsServer(Path(folder) / "nats") as server:
        connection = await connect(server.url, "syntor/bench")
        await apply_topology(connection)
        events = await _fill(JetStreamStore(connection, group_commit=False))
        bare_s = await _read(connection, events)
        store = open_store(f"sqlite:///{folder}/readmodel.db")
        await store.open(ReadModel())
        async with open_log(server.url) as source:
            began = time.perf_counter()
            position = await rebuild(source, store)
            rebuild_s = time.perf_counter() - began
            began = time.perf_counter()
            verified = await verify_log(source)
            verify_s = time.perf_counter() - began
        await store.close()
        await connection.close()
    assert position == events, f"rebuilt to {position} of {events}"
    assert verified.events == events, f"verified {verified.events} of {events}"
    assert not verified.damage, f"damage: {verified.damage}"
    print(
        f"replay into SQLite {events / rebuild_s:8.0f} events/s ({events} events; target {TARGET_PER_S})\n"
        f"verification of the log {events / verify_s:8.0f} events/s\n"
        f"baseline, bare read {events / bare_s:7.0f} events/s; ratio of the durations {rebuild_s / bare_s:.1f}"
    )


async def _read(connection: Connection, events: int) -> float:
    began = time.perf_counter()
    tail = Tail(connection, [subjects.ALL_EVENTS], after=0)
    async for batch in tail.batches():
        if batch[-1].position >= events:
            break
    await tail.close()
    return time.perf_counter() - began


async def _fill(store: JetStreamStore) -> int:
    """Append whole runs and return the number of events."""
    import asyncio

    position = 0
    numbers = iter(range(RUNS))

    async def work() -> None:
        nonlocal position
        for number in numbers:
            for new in _run(number):
                position = max(position, await store.append(new, None))

    await asyncio.gather(*(work() for _ in range(64)))
    return position


def _run(number: int) -> list[NewEvent]:
    run_id, session_id, now = new_id(), f"s{number // 3}", datetime.now(UTC)
    usage = Usage(input_tokens=100, output_tokens=20)
    text = "An answer of some length, as a model gives it, in a sentence or two. " * 3
    steps = [
        (run_id, UserInput(agent="worker", queue="worker", content="A question of some length, as people ask it."), 1),
        (session_id, TurnTaken(run_id=run_id), 1),
        (run_id, RunStarted(agent="worker"), 2),
        (run_id, TaskAssigned(task_id="t1", agent="worker", queue="worker"), 3),
        (f"{run_id}.t1", AgentInvokeStarted(agent="worker", instance="i"), 1),
        (f"{run_id}.t1", LlmCallStarted(call=1, provider="scripted", model="echo"), 2),
        (f"{run_id}.t1", LlmCallDone(call=1, text=text, usage=usage, provider="scripted", model="echo"), 3),
        (f"{run_id}.t1", AgentInvokeDone(final_message=text, usage=usage, llm_calls=1), 4),
        (run_id, RunDone(final_message=text, task_id="t1"), 4),
        (session_id, TurnReleased(run_id=run_id), 2),
    ]
    return [
        NewEvent(
            aggregate_id=aggregate_id,
            event=event,
            message_id=new_id(),
            source="bench",
            time=now,
            version=version,
            lineage=Lineage(run_id=run_id, session_id=session_id, correlation_id="0" * 32),
        )
        for aggregate_id, event, version in steps
    ]


if __name__ == "__main__":
    main()
