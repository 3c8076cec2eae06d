"""An instance that sends heartbeats is present; one that withdraws, stops, or is lost in a server restart is absent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from syntor.contracts import subjects
from syntor.contracts.errors import ContractError, NotReachableError
from syntor.contracts.rpc.v1 import Heartbeat
from syntor.jetstream.connection import connect
from syntor.jetstream.presence import PresenceWatch, publish_presence, withdraw_presence
from syntor.testing.log import Log

ON_BOTH = pytest.mark.parametrize("connection", ["real", "simulated"], indirect=True)

DEADLINE_S = 20.0


class Watched:
    """What a watch reports."""

    def __init__(self, connection: Any, ttl_s: float = 30.0) -> None:
        self.heartbeats: asyncio.Queue[Heartbeat] = asyncio.Queue()
        self.expired: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        watch = PresenceWatch(connection, self._on_heartbeat, self._on_expired, ttl_s=ttl_s)
        self.task = asyncio.create_task(watch.run())

    async def next_heartbeat(self) -> Heartbeat:
        return await asyncio.wait_for(self.heartbeats.get(), DEADLINE_S)

    async def next_expired(self) -> tuple[str, str]:
        return await asyncio.wait_for(self.expired.get(), DEADLINE_S)

    async def close(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def _on_heartbeat(self, heartbeat: Heartbeat) -> None:
        self.heartbeats.put_nowait(heartbeat)

    async def _on_expired(self, agent_id: str, instance: str) -> None:
        self.expired.put_nowait((agent_id, instance))


@pytest.fixture
async def watched(log: Log) -> AsyncIterator[Watched]:
    opened = Watched(log.connection)
    yield opened
    await opened.close()


def beat(agent_id: str, instance: str = "i1", **fields: Any) -> Heartbeat:
    return Heartbeat(agent_id=agent_id, instance=instance, **fields)


@ON_BOTH
async def test_a_heartbeat_is_reported_as_it_was_sent(log: Log, watched: Watched) -> None:
    heartbeat = beat("git", status="working", health="degraded", active=3, max_concurrent=10)

    await publish_presence(log.connection, heartbeat)

    assert await watched.next_heartbeat() == heartbeat


@ON_BOTH
async def test_a_new_watch_reports_instances_already_present(log: Log) -> None:
    for agent_id in ("git", "worker"):
        await publish_presence(log.connection, beat(agent_id, active=1))
        await publish_presence(log.connection, beat(agent_id, active=2))
    watched = Watched(log.connection)

    seen = [await watched.next_heartbeat() for _ in range(2)]

    assert [(heartbeat.agent_id, heartbeat.active) for heartbeat in seen] == [("git", 2), ("worker", 2)]
    await watched.close()


@ON_BOTH
async def test_an_instance_without_heartbeats_is_absent(log: Log, watched: Watched) -> None:
    await publish_presence(log.connection, beat("git"), ttl_s=1)
    await publish_presence(log.connection, beat("worker"), ttl_s=30)

    assert await watched.next_expired() == ("git", "i1")
    assert watched.expired.empty()


@ON_BOTH
async def test_an_instance_that_keeps_sending_stays_present(log: Log, watched: Watched) -> None:
    await publish_presence(log.connection, beat("silent"), ttl_s=1)
    await publish_presence(log.connection, beat("git"), ttl_s=1)
    await publish_presence(log.connection, beat("git"), ttl_s=30)

    assert await watched.next_expired() == ("silent", "i1")
    assert watched.expired.empty()


@ON_BOTH
async def test_an_instance_that_withdraws_is_absent_immediately(log: Log, watched: Watched) -> None:
    await publish_presence(log.connection, beat("git"))
    await watched.next_heartbeat()

    await withdraw_presence(log.connection, "git", "i1")

    assert await asyncio.wait_for(watched.expired.get(), 0.8) == ("git", "i1")


async def test_an_unreadable_heartbeat_is_skipped(log: Log, watched: Watched) -> None:
    await log.connection.publish(subjects.presence("git", "i1"), b"not JSON")
    await log.connection.publish("syntor.presence.odd", b"{}")
    await publish_presence(log.connection, beat("worker"))

    assert (await watched.next_heartbeat()).agent_id == "worker"
    assert not watched.task.done()


@pytest.mark.parametrize("error", [ContractError("out of bounds"), KeyError("a defect"), NotReachableError("not now")])
async def test_what_one_heartbeat_makes_the_caller_raise_ends_nothing(log: Log, error: Exception) -> None:
    seen: asyncio.Queue[str] = asyncio.Queue()

    async def on_heartbeat(heartbeat: Heartbeat) -> None:
        if heartbeat.agent_id == "poison":
            raise error
        seen.put_nowait(heartbeat.agent_id)

    async def on_expired(agent_id: str, instance: str) -> None:
        raise error

    watching = asyncio.create_task(PresenceWatch(log.connection, on_heartbeat, on_expired).run())
    await publish_presence(log.connection, beat("poison"))
    await withdraw_presence(log.connection, "poison", "i1")
    await publish_presence(log.connection, beat("git"))
    assert await asyncio.wait_for(seen.get(), DEADLINE_S) == "git"
    assert not watching.done()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_after_a_server_restart_live_instances_are_present_and_others_absent(log: Log) -> None:
    """The stream is in memory: a restarted server has no heartbeats, and writes no delete markers for them."""
    watched = Watched(log.connection, ttl_s=0.8)
    await publish_presence(log.connection, beat("lives"))
    await publish_presence(log.connection, beat("dies"))
    await watched.next_heartbeat()
    await watched.next_heartbeat()
    back = asyncio.Event()
    log.connection.on_reconnect(back.set)

    log.server.restart()
    await asyncio.wait_for(back.wait(), DEADLINE_S)
    lives = beat("lives", active=1)
    async with asyncio.timeout(DEADLINE_S):
        while watched.heartbeats.empty():  # heartbeats are lost until the watch has created the stream again
            await publish_presence(log.connection, lives)
            await log.connection.flush()
            await asyncio.wait([log.connection.closed], timeout=0.01)

    assert await watched.next_heartbeat() == lives
    assert await watched.next_expired() == ("dies", "i1")
    assert watched.expired.empty()
    await watched.close()


async def test_a_watch_survives_several_server_restarts(log: Log, watched: Watched) -> None:
    back = asyncio.Event()
    log.connection.on_reconnect(back.set)
    for number in range(1, 4):
        async with asyncio.timeout(DEADLINE_S):
            while watched.heartbeats.empty() or watched.heartbeats.get_nowait().active != number:
                await publish_presence(log.connection, beat("git", active=number))
                await log.connection.flush()
                await asyncio.wait([log.connection.closed], timeout=0.01)
        back.clear()
        log.server.restart()
        await asyncio.wait_for(back.wait(), DEADLINE_S)

    assert not watched.task.done()


async def test_a_watch_of_a_closed_connection_ends(log: Log) -> None:
    other = await connect(log.server.url, "syntor/other")
    watched = Watched(other)
    await publish_presence(log.connection, beat("git"))
    await watched.next_heartbeat()

    await other.close()

    with pytest.raises(NotReachableError):
        await asyncio.wait_for(watched.task, DEADLINE_S)
