"""The watch of heartbeats through a server that is unavailable for a moment."""

from __future__ import annotations

import asyncio

from syntor.contracts.rpc.v1 import Heartbeat
from syntor.contracts.topology import PRESENCE
from syntor.jetstream.admin import apply_topology
from syntor.jetstream.presence import PresenceWatch, publish_presence
from syntor.testing.simulation.client import connect_simulated
from syntor.testing.simulation.network import DirectNetwork
from syntor.testing.simulation.server import Disturbance, SimulatedServer


async def test_a_stream_that_cannot_be_created_now_is_created_later() -> None:
    server = SimulatedServer(DirectNetwork())
    connection, _ = await connect_simulated(server, "syntor/test")
    await apply_topology(connection)
    del server.api.streams[PRESENCE]
    answers: list[Disturbance] = ["none", "unavailable"]  # the stream is missing; that of the log cannot be looked at
    server.disturb = lambda: answers.pop(0) if answers else "none"
    created, seen = asyncio.Event(), asyncio.Event()
    server.api.on_stream = lambda stream: created.set()

    async def on_heartbeat(heartbeat: Heartbeat) -> None:
        seen.set()

    async def on_expired(agent_id: str, instance: str) -> None:
        raise AssertionError("nothing expires here")

    watching = asyncio.create_task(PresenceWatch(connection, on_heartbeat, on_expired).run())
    async with asyncio.timeout(20.0):
        creating = asyncio.ensure_future(created.wait())
        await asyncio.wait([watching, creating], return_when=asyncio.FIRST_COMPLETED)
        assert not watching.done(), watching.exception()
        await publish_presence(connection, Heartbeat(agent_id="git", instance="i1", status="idle"))
        await seen.wait()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await connection.close()
