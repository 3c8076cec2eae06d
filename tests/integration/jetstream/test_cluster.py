"""Three nodes: what is read is what was written, and killing the leader under load loses and repeats nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import pytest

from syntor.contracts import subjects
from syntor.contracts.errors import InfrastructureError, OutcomeUnknownError
from syntor.contracts.run.v1 import RunStarted
from syntor.contracts.topology import EVENTS, ORCHESTRATOR_DECISIONS, STREAMS
from syntor.jetstream.access import Access
from syntor.jetstream.admin import api, apply_topology
from syntor.jetstream.connection import Connection, connect
from syntor.jetstream.consumer import Consumer, Delivery
from syntor.jetstream.store import JetStreamStore
from syntor.jetstream.tail import Tail
from syntor.stack.apply import apply
from syntor.testing.events import new_event, user_input
from syntor.testing.nats_cluster import NODES, NatsCluster, cluster_of

DEADLINE_S = 60.0
WRITERS = 8


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsCluster]:
    with NatsCluster(tmp_path_factory.mktemp("cluster")) as running:
        asyncio.run(apply(running.url, Access(), wait_s=DEADLINE_S, replicas=3))
        yield running


@pytest.fixture
async def connection(cluster: NatsCluster) -> AsyncIterator[Connection]:
    opened = await connect(cluster.url, "syntor/test")
    yield opened
    await opened.close()


async def _until_whole(connection: Connection) -> None:
    """Wait until every node has all messages."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                state = await cluster_of(connection, EVENTS)
                if state.get("leader") and [replica["current"] for replica in state["replicas"]] == [True, True]:
                    return
            except InfrastructureError:
                pass
            await asyncio.sleep(0.1)


async def test_every_stream_and_queue_has_three_replicas_and_keeps_them(connection: Connection) -> None:
    for stream in STREAMS:
        assert (await api(connection, f"STREAM.INFO.{stream.name}"))["config"]["num_replicas"] == 3
    assert len((await api(connection, f"CONSUMER.INFO.{EVENTS}.orchestrator-decisions"))["cluster"]["replicas"]) == 2
    assert await apply_topology(connection) == []


@pytest.mark.parametrize("node", NODES)
async def test_an_acknowledged_append_is_read_immediately_from_any_replica(cluster: NatsCluster, node: str) -> None:
    connection = await connect(cluster.nodes[node].url, "syntor/test")  # its own replica responds
    store = JetStreamStore(connection)
    for number in range(100):
        run_id = f"{node}x{number}"
        first = await store.append(user_input(run_id), 0)
        second = await store.append(new_event(run_id, RunStarted(agent="worker"), version=2), first)
        assert [found.position async for found in store.load(subjects.aggregate("run", run_id))] == [first, second]
        last = await store.last(subjects.aggregate("run", run_id))
        assert last is not None
        assert last.position == second
        each = await store.last_of_each([subjects.event("run", run_id, "run_started")])
        assert [found.position for found in each] == [second]
        assert await store.last_of_each([subjects.event("run", run_id, "run_done")]) == []
    await connection.close()


async def test_a_killed_leader_and_a_killed_follower_lose_nothing(cluster: NatsCluster, connection: Connection) -> None:
    acknowledged: dict[str, int] = {}
    unknown: set[str] = set()
    handled: Counter[str] = Counter()
    seen: list[int] = []
    stopping = asyncio.Event()

    async def write(number: int) -> None:
        own = await connect(cluster.url, f"syntor/writer/{number}")
        store = JetStreamStore(own, group_commit=number % 2 == 0)
        count = 0
        while not stopping.is_set():
            count += 1
            new = user_input(f"w{number}x{count}")
            try:
                acknowledged[new.message_id] = await store.append(new, 0)
            except OutcomeUnknownError:
                unknown.add(new.message_id)
            except InfrastructureError:
                pass  # refused for sure
        await store.close()
        await own.close()

    async def handle(delivery: Delivery) -> None:
        handled[delivery.recorded.envelope.id] += 1

    async def follow(tail: Tail) -> None:
        async for batch in tail.batches():
            seen.extend(message.position for message in batch)

    async def until_acknowledged(count: int) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while len(acknowledged) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    store = JetStreamStore(connection)
    before = (await api(connection, f"STREAM.INFO.{EVENTS}"))["state"]["last_seq"]
    consumer = Consumer(connection, ORCHESTRATOR_DECISIONS, handle, max_concurrent=64)
    await consumer.start()
    tail = Tail(connection, [subjects.ALL_EVENTS], after=before)
    following = asyncio.create_task(follow(tail))
    writers = [asyncio.create_task(write(number)) for number in range(WRITERS)]
    for leads in (True, False):
        await until_acknowledged(len(acknowledged) + 300)
        state = await cluster_of(connection, EVENTS)
        victim = state["leader"] if leads else state["replicas"][0]["name"]
        cluster.kill(victim)
        await until_acknowledged(len(acknowledged) + 300)
        cluster.start(victim)
        await until_acknowledged(len(acknowledged) + 300)
        await _until_whole(connection)
    stopping.set()
    await asyncio.gather(*writers)
    await _until_whole(connection)

    stored = {found.envelope.id: found.position async for found in store.load(subjects.ALL_EVENTS, before)}
    assert {id_: position for id_, position in stored.items() if id_ not in unknown} == acknowledged
    async with asyncio.timeout(DEADLINE_S):
        while not (stored.keys() <= handled.keys() and len(seen) >= len(stored)):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    await tail.close()
    await consumer.stop()
    assert seen == sorted(stored.values())
