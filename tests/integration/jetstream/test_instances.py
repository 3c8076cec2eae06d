"""Instances of a queue know which of them holds a message, which has stalled, and which is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from syntor.contracts import subjects
from syntor.contracts.run.v1 import TaskAssigned
from syntor.contracts.topology import task_queue_consumer
from syntor.jetstream.admin import consumer_info, ensure_consumer
from syntor.jetstream.connection import Connection, connect
from syntor.jetstream.consumer import Consumer, Delivery
from syntor.jetstream.instances import Instances, requeue
from syntor.testing.log import Log
from syntor.testing.tasks import put

ON_BOTH = pytest.mark.parametrize("connection", ["real", "simulated"], indirect=True)

DEADLINE_S = 20.0
QUEUE = "worker"
SPEC = task_queue_consumer(QUEUE)
Other = Callable[[str, set[int]], Awaitable[Connection]]


@pytest.fixture
async def instances(log: Log) -> AsyncIterator[Instances]:
    own = Instances(log.connection, QUEUE, "own", lambda: frozenset({7}))
    await own.start()
    yield own
    await own.stop()


@pytest.fixture
async def other(log: Log) -> AsyncIterator[Other]:
    """Start another instance on a connection of its own."""
    connections: list[Connection] = []

    async def start(name: str, held: set[int]) -> Connection:
        connection = await connect(log.connection.url, f"syntor/test/{name}")
        connections.append(connection)
        await Instances(connection, QUEUE, name, lambda: frozenset(held)).start()
        await connection.flush()
        return connection

    yield start
    for connection in connections:
        await connection.close()


async def test_an_instance_says_what_it_holds(instances: Instances, other: Other) -> None:
    held = {1, 2}
    await other("i2", held)
    assert await instances.standing("i2", 1) == "held"
    assert await instances.standing("i2", 3) == "not_held"
    held.remove(1)
    assert await instances.standing("i2", 1) == "not_held"


async def test_a_closed_connection_means_gone_and_no_reply_means_silent(
    log: Log, instances: Instances, other: Other
) -> None:
    assert await instances.standing("never", 1) == "gone"
    connection = await other("i2", {1})
    await connection.close()
    async with asyncio.timeout(DEADLINE_S):  # the server may learn of the end after the client
        while (standing := await instances.standing("i2", 1)) == "silent":
            pass
    assert standing == "gone"
    stalled = await log.connection.subscribe_direct(subjects.instances(QUEUE, "i3"), lambda message: None)
    assert await instances.standing("i3", 1) == "silent"
    await stalled.unsubscribe()


async def test_all_that_is_held_is_collected_from_those_that_reply(instances: Instances, other: Other) -> None:
    await other("i2", {1, 2})
    gone = await other("i3", {3})
    assert await instances.held_by_all() == {1, 2, 3, 7}
    await gone.close()
    assert await instances.held_by_all() == {1, 2, 7}


@ON_BOTH
async def test_a_requeued_message_is_redelivered_long_before_its_lease_ends(log: Log) -> None:
    await ensure_consumer(log.connection, SPEC)
    deliveries: asyncio.Queue[Delivery] = asyncio.Queue()

    async def never(delivery: Delivery) -> None:
        deliveries.put_nowait(delivery)
        await asyncio.Event().wait()

    async def handle(delivery: Delivery) -> None:
        deliveries.put_nowait(delivery)

    dead = Consumer(log.connection, SPEC, never, max_concurrent=8, ordered=False)
    await dead.start()
    assigned = [TaskAssigned(task_id=f"t{number}", agent=QUEUE, queue=QUEUE) for number in range(3)]
    positions = [await put(log.store, f"r{number}", event) for number, event in enumerate(assigned)]
    async with asyncio.timeout(DEADLINE_S):
        for _ in positions:
            await deliveries.get()
    await dead._puller.stop()
    for task in (*dead._tasks, dead._renewing):
        assert task is not None
        task.cancel()
    peer = Consumer(log.connection, SPEC, handle, max_concurrent=8, ordered=False)
    await peer.start()
    info = await consumer_info(log.connection, SPEC)
    assert info.ack_pending == 3
    await requeue(log.connection, SPEC, positions[1], info.delivered_sequence)
    async with asyncio.timeout(SPEC.ack_wait_s / 2):
        delivery = await deliveries.get()
    assert (delivery.recorded.position, delivery.attempt) == (positions[1], 2)
    async with asyncio.timeout(DEADLINE_S):
        while (info := await consumer_info(log.connection, SPEC)).ack_pending != 2:
            await log.connection.flush()
    assert deliveries.empty()
    await peer.stop(1.0)
