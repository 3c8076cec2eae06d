"""The consumer of the simulated server."""

from __future__ import annotations

import asyncio

from syntor.contracts.topology import EVENTS, ORCHESTRATOR_DECISIONS
from syntor.jetstream.admin import apply_topology, consumer_info
from syntor.jetstream.connection import Message
from syntor.jetstream.store import JetStreamStore
from syntor.testing.events import user_input
from syntor.testing.simulation.client import connect_simulated
from syntor.testing.simulation.loop import SimulatedLoop
from syntor.testing.simulation.network import DirectNetwork
from syntor.testing.simulation.server import SimulatedServer


def test_a_lease_that_ends_while_its_message_waits_for_a_request_is_looked_at_once() -> None:
    async def world() -> int:
        connection, _ = await connect_simulated(SimulatedServer(DirectNetwork()), "syntor/test")
        await apply_topology(connection)
        await JetStreamStore(connection).append(user_input("r1"), 0)
        received = asyncio.Queue[Message]()
        await connection.subscribe_direct("inbox", received.put_nowait)
        await connection.publish(f"$JS.API.CONSUMER.MSG.NEXT.{EVENTS}.{ORCHESTRATOR_DECISIONS.name}", b"", "inbox")
        await connection.publish((await received.get()).reply, b"-NAK")  # nothing requests it: it waits
        await asyncio.sleep(ORCHESTRATOR_DECISIONS.ack_wait_s * 10)
        return (await consumer_info(connection, ORCHESTRATOR_DECISIONS)).ack_pending

    loop = SimulatedLoop()
    assert loop.run(world(), limit_s=60.0) == 1
    loop.end([])
