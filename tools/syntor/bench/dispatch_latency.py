"""Dispatch latency: from a committed event to the start of its handler in another process.

The baseline is the latency of a plain NATS message between the same processes.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import tempfile
import time
from datetime import UTC, datetime
from multiprocessing.connection import Connection as Pipe
from multiprocessing.synchronize import Event
from pathlib import Path

import uvloop

from syntor.bench.load import Samples
from syntor.contracts.envelope import Lineage
from syntor.contracts.ids import new_id
from syntor.contracts.run.v1 import UserInput
from syntor.contracts.topology import ORCHESTRATOR_DECISIONS
from syntor.eventsourcing.store import NewEvent
from syntor.jetstream.admin import apply_topology
from syntor.jetstream.connection import Connection, Message, connect
from syntor.jetstream.consumer import Consumer, Delivery
from syntor.jetstream.store import JetStreamStore
from syntor.testing.nats_server import NatsServer

MESSAGES = 300
PAUSE_S = 0.005  # between messages, so that no queue builds up
TARGET_MS = 5.0
PLAIN = "bench.plain"


def main() -> None:
    """Measure with a server that syncs every 100 ms and one that syncs each write."""
    for durability, sync in (("fast", "100ms"), ("durable", "always")):
        with (
            tempfile.TemporaryDirectory(prefix="syntor-bench-") as folder,
            NatsServer(Path(folder), sync=sync) as server,
        ):
            dispatched, plain = uvloop.run(_measure(server.url))
        p50, p99, baseline = dispatched.percentile_ms(0.5), dispatched.percentile_ms(0.99), plain.percentile_ms(0.5)
        print(f"{durability:8} dispatch latency p50 {p50:.2f} ms, p99 {p99:.2f} ms (target p50 {TARGET_MS:g} ms)")
        print(f"{'':8} baseline (plain message) p50 {baseline:.2f} ms; ratio {p50 / baseline:.1f}")


async def _measure(url: str) -> tuple[Samples, Samples]:
    connection = await connect(url, "syntor/bench")
    await apply_topology(connection)
    store = JetStreamStore(connection, group_commit=False)
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    ready = context.Event()
    process = context.Process(target=_receive, args=(url, there, ready), daemon=True)
    process.start()
    await asyncio.to_thread(ready.wait)
    for _ in range(MESSAGES):
        new = NewEvent(
            aggregate_id=new_id(),
            event=UserInput(agent="a", queue="a", content="x"),
            message_id=new_id(),
            source="bench",
            time=datetime.now(UTC),
            version=1,
            lineage=Lineage(run_id="r"),
        )
        await store.append(new, 0)
        await asyncio.sleep(PAUSE_S)
        await connection.publish(PLAIN, str(time.time_ns()).encode())
        await asyncio.sleep(PAUSE_S)
    dispatched, plain = await asyncio.to_thread(here.recv)
    process.join(10)
    await connection.close()
    return Samples(dispatched, 1.0), Samples(plain, 1.0)


def _receive(url: str, pipe: Pipe, ready: Event) -> None:
    uvloop.run(_collect(url, pipe, ready))


async def _collect(url: str, pipe: Pipe, ready: Event) -> None:
    connection: Connection = await connect(url, "syntor/bench-receiver")
    dispatched: list[float] = []
    plain: list[float] = []
    done = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        dispatched.append((time.time_ns() - delivery.recorded_at_ns) / 1e9)
        if len(dispatched) == MESSAGES:
            done.set()

    def on_plain(message: Message) -> None:
        plain.append((time.time_ns() - int(message.payload)) / 1e9)

    consumer = Consumer(connection, ORCHESTRATOR_DECISIONS, handle, max_concurrent=64)
    await consumer.start()
    await connection.subscribe_direct(PLAIN, on_plain)
    await connection.flush()
    ready.set()
    await done.wait()
    await asyncio.sleep(PAUSE_S)
    pipe.send((dispatched, plain))
    await consumer.stop()
    await connection.close()


if __name__ == "__main__":
    main()
