"""Links to the simulated server: what a cut, a reconnect and a restart lose, and what they keep."""

from __future__ import annotations

import asyncio
import random

import pytest

from syntor.contracts.errors import NotReachableError
from syntor.jetstream.connection import Connection, Message
from syntor.testing.simulation.client import SimulatedClient, connect_simulated
from syntor.testing.simulation.loop import SimulatedLoop
from syntor.testing.simulation.network import DelayedNetwork, DirectNetwork
from syntor.testing.simulation.server import SimulatedServer


async def echo_on(connection: Connection) -> None:
    async def echo(message: Message) -> None:
        await connection.publish(message.reply, message.payload)

    await connection.subscribe("echo", echo)


async def two() -> tuple[SimulatedServer, Connection, SimulatedClient, Connection]:
    server = SimulatedServer(DirectNetwork())
    first, client = await connect_simulated(server, "a")
    second, _ = await connect_simulated(server, "b")
    return server, first, client, second


async def reconnected(connection: Connection) -> None:
    back = asyncio.Event()
    connection.on_reconnect(back.set)
    await asyncio.wait_for(back.wait(), 10.0)


async def test_a_cut_link_fails_requests_and_what_is_published_meanwhile_arrives_afterwards() -> None:
    server, first, client, second = await two()
    await echo_on(second)
    received = asyncio.Queue[bytes]()
    await second.subscribe_direct("news", lambda message: received.put_nowait(message.payload))
    waiting = asyncio.create_task(first.request("echo", b"1"))
    await asyncio.sleep(0)
    link = client.link
    assert link is not None
    link.cut()
    server.drop(link)
    client.lose(link)
    await first.publish("news", b"buffered")
    with pytest.raises(NotReachableError, match="the connection broke"):
        await waiting
    await reconnected(first)
    assert (await first.request("echo", b"2")).payload == b"2"
    assert await asyncio.wait_for(received.get(), 5.0) == b"buffered"
    await first.close()
    await second.close()


async def test_subscriptions_survive_a_restart_of_the_server() -> None:
    server, first, _, second = await two()
    await echo_on(second)
    server.stop()
    assert not await first.wait_connected(0.05) or not first.is_connected
    server.start()
    await asyncio.gather(reconnected(first), reconnected(second))
    assert (await first.request("echo", b"again")).payload == b"again"
    await first.close()
    await second.close()


async def test_a_closed_connection_has_no_responders_left() -> None:
    _, first, _, second = await two()
    await echo_on(second)
    assert (await first.request("echo", b"1")).payload == b"1"
    await second.close()
    with pytest.raises(NotReachableError, match="no responders"):
        await first.request("echo", b"2")
    await first.close()


def test_messages_of_one_link_keep_their_order_and_those_of_two_overtake_each_other() -> None:
    loop = SimulatedLoop()

    async def world() -> list[str]:
        network = DelayedNetwork(loop, random.Random(3), typical_s=0.01, slow_share=0.2)
        server = SimulatedServer(network)
        connections = [(await connect_simulated(server, name))[0] for name in ("a", "b", "c")]
        seen: list[str] = []
        await connections[2].subscribe_direct("news", lambda message: seen.append(message.payload.decode()))
        await connections[2].flush()
        for number in range(20):
            for name, connection in zip("ab", connections, strict=False):
                await connection.publish("news", f"{name}{number}".encode())
        await asyncio.sleep(60.0)
        return seen

    seen = loop.run(world(), limit_s=120.0)
    loop.end([])
    for name in "ab":
        assert [text for text in seen if text[0] == name] == [f"{name}{number}" for number in range(20)]
    assert seen != sorted(seen, key=lambda text: int(text[1:]))
