"""The baseline: a client, an echo orchestrator and an echo agent as three processes on plain nats-py.

They persist as many messages per run as Syntor does, each awaited, and do nothing else: no version check, no state, no
HTTP, no read model. Syntor's overhead is its ratio to this, on the same server settings in the same run.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from typing import Any, cast

import uvloop

from syntor.bench.load import Samples

STREAM = "BASELINE"
CLIENT_MESSAGES = 1  # user_input
ORCHESTRATOR_BEFORE = 3  # turn_taken, run_started, task_assigned
AGENT_MESSAGES = 5  # agent_invoke_started, llm_call_started, agent_stream_delta, llm_call_done, agent_invoke_done
ORCHESTRATOR_AFTER = 2  # run_done, turn_released
ROLES = ("orchestrator", "agent")
PAYLOAD = b"x" * 400  # bytes; about an envelope with a short event


async def measure(url: str, nkey: str, *, concurrency: int, runs: int) -> Samples:
    """Run the three processes against a server and return the client's latencies; `nkey` is the file of a seed."""
    import nats
    from nats.js import api

    connection: Any = await cast("Any", nats).connect(url, error_cb=_quiet, nkeys_seed=nkey)
    await connection.jetstream().add_stream(api.StreamConfig(name=STREAM, subjects=["baseline.>"], allow_direct=True))
    context = multiprocessing.get_context("spawn")
    ready = context.Semaphore(0)
    workers = [
        context.Process(target=_main, args=(role, url, nkey, ready), daemon=True) for role in ("orchestrator", "agent")
    ]
    for worker in workers:
        worker.start()
    try:
        for _ in workers:
            await asyncio.to_thread(ready.acquire)
        return await _drive(connection, concurrency, runs)
    finally:
        for worker in workers:
            worker.kill()
        await connection.jetstream().delete_stream(STREAM)
        await connection.close()


async def _drive(connection: Any, concurrency: int, runs: int) -> Samples:
    jetstream = connection.jetstream()
    waiting: dict[str, asyncio.Future[None]] = {}
    latencies: list[float] = []

    async def on_done(message: Any) -> None:
        future = waiting.pop(message.subject.split(".")[2], None)
        if future is not None and not future.done():
            future.set_result(None)

    await connection.subscribe(
        "baseline.done.*", cb=on_done
    )  # the stored message itself, as a plain subscriber receives it
    remaining = iter(range(runs))

    async def work() -> None:
        for number in remaining:
            started = time.perf_counter()
            future = waiting[str(number)] = asyncio.get_running_loop().create_future()
            await jetstream.publish(f"baseline.input.{number}", PAYLOAD, stream=STREAM)
            await future
            latencies.append(time.perf_counter() - started)

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(concurrency)))
    return Samples(latencies, time.perf_counter() - began)


def _main(role: str, url: str, nkey: str, ready: Any) -> None:
    uvloop.run(_serve(role, url, nkey, ready))


async def _serve(role: str, url: str, nkey: str, ready: Any) -> None:
    import nats
    from nats.js import api

    connection: Any = await cast("Any", nats).connect(url, error_cb=_quiet, nkeys_seed=nkey)
    jetstream = connection.jetstream()
    running: set[asyncio.Task[None]] = set()

    async def publish(kind: str, run: str, count: int, last: str) -> None:
        for _ in range(count - 1):
            await jetstream.publish(f"baseline.{kind}.{run}", PAYLOAD, stream=STREAM)
        await jetstream.publish(f"baseline.{last}.{run}", PAYLOAD, stream=STREAM)

    async def handle(message: Any) -> None:
        _, kind, run = message.subject.split(".")
        if kind == "input":
            await publish("step", run, ORCHESTRATOR_BEFORE, "task")
        elif kind == "task":
            await publish("step", run, AGENT_MESSAGES, "reply")
        else:
            await jetstream.publish(f"baseline.done.{run}", PAYLOAD, stream=STREAM)
            await publish("step", run, ORCHESTRATOR_AFTER - 1, "released")
        await message.ack()

    async def on_message(message: Any) -> None:
        task = asyncio.create_task(handle(message))
        running.add(task)
        task.add_done_callback(running.discard)

    filters = ["baseline.input.*", "baseline.reply.*"] if role == "orchestrator" else ["baseline.task.*"]
    config = api.ConsumerConfig(durable_name=role, filter_subjects=filters, max_ack_pending=1000, ack_wait=5)
    await jetstream.subscribe("", stream=STREAM, durable=role, cb=on_message, manual_ack=True, config=config)
    ready.release()
    await asyncio.Event().wait()


async def _quiet(_: Exception) -> None:
    """Ignore connection errors here: the call they affect raises them."""
