"""Ingress processes on a real server and real ports, and peers that write what the other services would."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import msgspec
import pytest

from syntor.contracts.agent.v1 import AgentProfile, AgentRegistered
from syntor.contracts.envelope import Lineage
from syntor.contracts.ids import new_id
from syntor.contracts.output.v1 import AgentStreamDelta
from syntor.contracts.run.v1 import RunDone, RunStarted
from syntor.eventsourcing.store import NewEvent
from syntor.ingress.__main__ import main
from syntor.ingress.settings import IngressSettings
from syntor.jetstream.connection import Connection, connect
from syntor.jetstream.store import JetStreamStore
from syntor.runtime.health import Health
from syntor.runtime.loop_lag import LoopLag
from syntor.runtime.process import Runtime
from syntor.testing.local_stack import headers_of_home
from syntor.testing.nats_server import free_port

WAIT_S = 10.0


class Ingress(msgspec.Struct):
    """One running ingress and a client of it."""

    http: httpx2.AsyncClient
    port: int
    stopping: asyncio.Event
    done: asyncio.Future[None]
    health: Health


class AnnouncingHealth(Health):
    """Health with an event that readiness sets."""

    def __init__(self) -> None:
        super().__init__()
        self.ready = asyncio.Event()

    def set_ready(self, ready: bool) -> None:
        """Also set the event."""
        super().set_ready(ready)
        self.ready.set()


@asynccontextmanager
async def running(nats_url: str, **changes: Any) -> AsyncGenerator[Ingress, None]:
    """Run an ingress with a connection of its own until the block ends."""
    connection = await connect(nats_url, "syntor/ingress/test")
    with TemporaryDirectory() as home:
        options: dict[str, Any] = {"nats_url": nats_url, "http_port": free_port(), "instance": "test", "home": home}
        settings = IngressSettings(**options | changes)
        async with serving(settings, connection) as ingress:
            yield ingress
    await connection.close()


@asynccontextmanager
async def serving(settings: IngressSettings, connection: Connection) -> AsyncGenerator[Ingress, None]:
    """Run an ingress until the block ends; its client is the local user."""
    health = AnnouncingHealth()
    runtime = Runtime("ingress", "test", settings, connection, health, asyncio.Event(), LoopLag())
    done = asyncio.ensure_future(main(runtime))
    await asyncio.wait_for(health.ready.wait(), WAIT_S)
    url, headers = (
        f"http://127.0.0.1:{settings.http_port}",
        headers_of_home(Path(settings.home)),
    )
    async with httpx2.AsyncClient(base_url=url, headers=headers, timeout=WAIT_S) as client:
        yield Ingress(client, settings.http_port, runtime.stopping, done, runtime.health)
    runtime.stopping.set()
    await asyncio.wait_for(done, WAIT_S)


class Peers:
    """Writes to the log what orchestrator, registry and agents would."""

    def __init__(self, store: JetStreamStore) -> None:
        self._store = store

    async def write(self, aggregate_id: str, event: msgspec.Struct, run_id: str = "") -> int:
        """Append one event of any aggregate."""
        new = NewEvent(
            aggregate_id=aggregate_id,
            event=event,
            message_id=new_id(),
            source="test",
            time=datetime.now(UTC),
            version=0,
            lineage=Lineage(run_id=run_id),
        )
        return await self._store.append(new, None)

    async def register(self, agent_id: str, *aliases: str, endpoint: str = "") -> None:
        """Register an agent."""
        profile = AgentProfile(agent_id=agent_id, name=agent_id, aliases=list(aliases), endpoint=endpoint)
        await self.write(agent_id, AgentRegistered(profile=profile))

    async def begin(self, run_id: str, deltas: int = 3) -> list[int]:
        """Start a run and stream some text."""
        positions = [await self.write(run_id, RunStarted(agent="worker"), run_id=run_id)]
        for index in range(deltas):
            delta = AgentStreamDelta(call=1, index=index, text=f"word{index} ")
            positions.append(await self.write(f"{run_id}.t1", delta, run_id=run_id))
        return positions

    async def finish(self, run_id: str) -> int:
        """End a run with success."""
        return await self.write(run_id, RunDone(final_message="done"), run_id=run_id)


@pytest.fixture
async def peers(log: Any) -> Peers:
    """Peers of an ingress; the agent worker (alias w) is registered."""
    writer = Peers(log.store)
    await writer.register("worker", "w")
    return writer


@pytest.fixture
async def start_ingress(log: Any, peers: Peers) -> AsyncIterator[Callable[..., Awaitable[Ingress]]]:
    """Starts another ingress on the same log; takes settings."""
    async with AsyncExitStack() as stack:
        yield lambda **changes: stack.enter_async_context(running(log.server.url, **changes))


@pytest.fixture
async def ingress(start_ingress: Callable[[], Awaitable[Ingress]]) -> Ingress:
    """An ingress."""
    return await start_ingress()


async def events_of(response: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
    """Yield the events of a stream as {id, event, data}; comments are left out."""
    fields: dict[str, Any] = {}
    async for line in response.aiter_lines():
        if not line and "data" in fields:
            yield fields | {"data": json.loads(fields["data"])}
            fields = {}
        elif line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value


Follow = Callable[[httpx2.Response], AsyncIterator[dict[str, Any]]]


@pytest.fixture
def follow() -> Follow:
    """Reads the events of a streamed response."""
    return events_of
