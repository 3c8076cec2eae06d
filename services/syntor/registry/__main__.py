"""`python -m syntor.registry`: serves the agent registry until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import os

from syntor.contracts import subjects
from syntor.contracts.clock import now
from syntor.contracts.errors import ConflictError, ContractError, InfrastructureError
from syntor.contracts.rpc.v1 import (
    DEREGISTER_AGENT,
    GET_AGENT,
    LIST_AGENTS,
    REGISTER_AGENT,
    REGISTRY,
    DeregisterAgent,
    GetAgent,
    ListAgents,
    RegisterAgent,
)
from syntor.contracts.topology import EVENTS, PRESENCE_TTL_S
from syntor.eventsourcing.dead_letters import DeadLettered
from syntor.jetstream.connection import Connection
from syntor.jetstream.dead_letters import dead_letter
from syntor.jetstream.presence import PresenceWatch
from syntor.jetstream.requests import Endpoint, Service
from syntor.jetstream.store import JetStreamStore
from syntor.jetstream.tail import Tail
from syntor.registry.external_gateway import GatewayStarter
from syntor.registry.handlers import Registry
from syntor.registry.settings import RegistrySettings
from syntor.runtime.outgoing import stack_ports
from syntor.runtime.process import Runtime, run_service, until_stopped
from syntor.runtime.settings import read_settings
from syntor.runtime.telemetry import get_logger


async def main(runtime: Runtime[RegistrySettings]) -> None:
    """Wire store, tail, heartbeats and endpoints, and serve until stopped."""
    connection = runtime.connection
    store = JetStreamStore(connection, group_commit=runtime.settings.durability == "durable")
    registry = Registry(connection, store, now, GatewayStarter(os.environ).require, lambda: stack_ports(os.environ))
    tail = Tail(connection, [subjects.category("agent")], after=0)
    known = asyncio.Event()

    async def agents_known() -> str | None:
        return None if tail.caught_up else f"still replaying the log's agent events, at position {tail.position}"

    service = _service(registry, runtime)
    following = asyncio.create_task(follow(registry, store, tail, connection, known))
    waiting = asyncio.create_task(known.wait())
    await asyncio.wait({following, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if following.done():
        following.result()
    watching = asyncio.create_task(PresenceWatch(connection, registry.on_heartbeat, registry.on_expired).run())
    sweeping = asyncio.create_task(_sweep(registry))
    await service.start()
    runtime.health.add_check("agents", agents_known)
    runtime.health.set_ready(True)
    try:
        await until_stopped(runtime, following, watching)
    finally:
        await service.stop()
        for task in (following, watching, sweeping):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(following, watching, sweeping, return_exceptions=True)
        await tail.close()
        await store.close()


def _service(registry: Registry, runtime: Runtime[RegistrySettings]) -> Service:
    return Service(
        runtime.connection,
        REGISTRY,
        version="1.0.0",
        description="Registry of agents: capabilities, status, health",
        endpoints=[
            Endpoint(REGISTER_AGENT, RegisterAgent, registry.register, "Register an agent"),
            Endpoint(DEREGISTER_AGENT, DeregisterAgent, registry.deregister, "Deregister an agent"),
            Endpoint(GET_AGENT, GetAgent, registry.get, "One agent by id or alias"),
            Endpoint(LIST_AGENTS, ListAgents, registry.list, "Agents by capability and status"),
        ],
        metadata={"instance": runtime.instance},
    )


async def follow(
    registry: Registry, store: JetStreamStore, tail: Tail, connection: Connection, known: asyncio.Event
) -> None:
    """Fold the log's agent events; `known` is set once all of them are folded."""
    await tail.ready()
    if tail.caught_up:
        known.set()
    async for batch in tail.batches():
        for raw in batch:
            try:
                registry.apply(await store.recorded.read(raw))
            except InfrastructureError:
                raise
            except Exception as exc:  # noqa: BLE001 - one event must not keep the registry from all others
                cause = str(exc) if isinstance(exc, ContractError) else f"{type(exc).__name__}: {exc}"
                get_logger().error("message_dead_lettered", position=raw.position, cause=cause, exc_info=exc)
                letter = DeadLettered(
                    stream=EVENTS, consumer=REGISTRY, position=raw.position, subject=raw.subject, cause=cause
                )
                await dead_letter(connection, letter, raw.payload)
        if tail.caught_up:
            known.set()


async def _sweep(registry: Registry) -> None:
    """Take instances offline whose expiry marker was lost with a restart of the server or the registry."""
    while True:
        await asyncio.sleep(PRESENCE_TTL_S)  # a live instance has sent a heartbeat by then
        try:
            await registry.check_absent()
        except (ConflictError, InfrastructureError) as exc:
            get_logger().warning("absence_not_recorded", error=str(exc))
        except Exception:  # noqa: BLE001 - one agent's defect; the next sweep tries again
            get_logger().exception("sweep_failed")


if __name__ == "__main__":
    run_service(REGISTRY, lambda: read_settings(RegistrySettings), main)
