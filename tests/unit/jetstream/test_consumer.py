"""The key within which messages are handled in order, and what a handler can do to its message."""

from __future__ import annotations

import asyncio

from syntor.contracts import subjects
from syntor.contracts.topology import ORCHESTRATOR_DECISIONS
from syntor.jetstream.admin import apply_topology, consumer_info
from syntor.jetstream.consumer import Consumer, Delivery, lane_of
from syntor.jetstream.store import JetStreamStore
from syntor.testing.events import user_input
from syntor.testing.simulation.client import connect_simulated
from syntor.testing.simulation.network import DirectNetwork
from syntor.testing.simulation.server import SimulatedServer


def test_messages_of_one_run_share_a_lane() -> None:
    of_one_run = [
        subjects.event("run", "r1", "user_input"),
        subjects.event("run", "r1", "task_assigned", "worker"),
        subjects.event("task", "r1.t1", "agent_invoke_done"),
        subjects.event("request", "r1", "cancel_requested"),
        subjects.timer_fired("r1", "task-t1"),
    ]

    assert {lane_of(subject) for subject in of_one_run} == {"r1"}


def test_messages_of_other_aggregates_have_their_own_lanes() -> None:
    assert lane_of(subjects.event("run", "r2", "user_input")) == "r2"
    assert lane_of(subjects.event("session", "s1", "turn_taken")) == "s1"


async def test_a_handler_that_something_cancelled_costs_a_delivery_and_holds_no_message() -> None:
    connection, _ = await connect_simulated(SimulatedServer(DirectNetwork()), "syntor/test")
    await apply_topology(connection)
    handled = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        if delivery.attempt == 1:
            helper = asyncio.ensure_future(asyncio.sleep(3600))
            helper.cancel()
            await helper
        handled.set()

    consumer = Consumer(connection, ORCHESTRATOR_DECISIONS, handle, max_concurrent=2)
    await consumer.start()
    await JetStreamStore(connection).append(user_input("r1"), 0)
    async with asyncio.timeout(20.0):
        await handled.wait()
        await consumer.stop()
        await connection.flush()
    assert (await consumer_info(connection, ORCHESTRATOR_DECISIONS)).ack_pending == 0
    await connection.close()
