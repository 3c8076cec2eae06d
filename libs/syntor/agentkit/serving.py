"""Runs an agent as a process: registers it, serves its queue, sends heartbeats, stops in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec

from syntor.agentkit.host import AgentHost, Invoke, cancelled_afterwards, model_choice, now
from syntor.agentkit.loop import chat_agent
from syntor.agentkit.manifest import Manifest, read_manifest
from syntor.agentkit.tools.catalog import TOOLS
from syntor.contracts import subjects
from syntor.contracts.agent.v1 import AgentProfile
from syntor.contracts.errors import InfrastructureError, NotReachableError
from syntor.contracts.rpc.v1 import REGISTER_AGENT, REGISTRY, AgentView, Heartbeat, RegisterAgent
from syntor.contracts.topology import HEARTBEAT_INTERVAL_S, task_queue_consumer
from syntor.jetstream.admin import consumer_info
from syntor.jetstream.connection import Connection
from syntor.jetstream.consumer import Consumer
from syntor.jetstream.presence import publish_presence, withdraw_presence
from syntor.jetstream.requests import Endpoint, Service, call
from syntor.jetstream.store import JetStreamStore
from syntor.runtime.process import Runtime, run_service, until_stopped
from syntor.runtime.settings import ServiceSettings, read_settings
from syntor.runtime.telemetry import get_logger, message_context

MAX_LAG = 1000  # tasks waiting beyond which this queue says it is not keeping up
_REGISTER_EVERY_S = (0.05, 1.0)


class AgentSettings(ServiceSettings, frozen=True, kw_only=True):
    """Read from `SYNTOR_*`."""

    max_concurrent_tasks: int = 10
    """Tasks one instance works on at once; a manifest may ask for fewer."""


class StatusRequest(msgspec.Struct, frozen=True):
    """Asks an instance how it is."""


class StatusReply(msgspec.Struct, frozen=True):
    """How an instance is."""

    instance: str
    active: int
    """Tasks in work."""


def serve_agent(manifest_path: Path | str, invoke: Invoke | None = None) -> None:
    """Run the agent of a manifest until SIGTERM; never returns.

    Args:
        invoke: the agent's function; None: the chat loop with the manifest's prompt and tools.
    """
    path = Path(manifest_path)
    name = f"agent-{path.parent.name if path.name == 'manifest.yaml' else path.stem}"

    async def main(runtime: Runtime[AgentSettings]) -> None:
        manifest = read_manifest(path, frozenset(TOOLS))
        await serve(runtime, manifest, invoke or chat_agent(manifest))

    run_service(name, lambda: read_settings(AgentSettings), main)


async def serve(runtime: Runtime[AgentSettings], manifest: Manifest, invoke: Invoke, *, registers: bool = True) -> None:
    """Register, serve and send heartbeats until stopped.

    Args:
        registers: False for a queue that is not an agent of its own, and is declared in the topology.
    """
    settings, connection = runtime.settings, runtime.connection
    max_concurrent = min(settings.max_concurrent_tasks, manifest.constraints.max_concurrent)
    store = JetStreamStore(connection, group_commit=settings.durability == "durable")
    models = model_choice(manifest, settings.home)
    host = AgentHost(manifest.id, runtime.instance, invoke, store, models, manifest.tools)
    spec = task_queue_consumer(manifest.id)
    if registers:
        await register(connection, manifest.profile(max_concurrent), runtime.stopping)
    consumer = Consumer(
        connection,
        spec,
        host.handle,
        max_concurrent=max_concurrent,
        around=lambda recorded: message_context(recorded.envelope),
    )
    ends = [
        await connection.subscribe_direct(subjects.of_type("run", type_), host.on_run_ended)
        for type_ in ("run_cancelled", "run_failed")
    ]

    async def status(_: StatusRequest) -> StatusReply:
        return StatusReply(instance=runtime.instance, active=host.active)

    async def lag() -> str | None:
        pending = (await consumer_info(connection, spec)).pending
        return f"{pending} tasks wait in the queue {manifest.id}; start more instances" if pending > MAX_LAG else None

    service = Service(
        connection,
        runtime.service,
        version=manifest.version,
        description=manifest.description,
        endpoints=[Endpoint("status", StatusRequest, status, "How this instance is")],
        metadata={"instance": runtime.instance, "agent_id": manifest.id},
    )
    await service.start()
    await consumer.start()
    beating: list[asyncio.Task[None]] = []
    if registers:
        beats = heartbeats(connection, manifest.id, runtime.instance, max_concurrent, lambda: host.active)
        beating.append(asyncio.create_task(beats))
    runtime.health.add_check("queue", lag)
    runtime.health.set_ready(True)
    async with cancelled_afterwards(*beating):
        await until_stopped(runtime, consumer.failed)
        for subscription in ends:
            await subscription.unsubscribe()
        await consumer.stop()
    if registers:
        await withdraw(connection, manifest.id, runtime.instance)
    await service.stop()
    await models.close()
    await store.close()


async def register(connection: Connection, profile: AgentProfile, stopping: asyncio.Event) -> None:
    """Make the agent known; the registry then has its queue ready. Tries until the registry is there.

    Raises:
        RejectionError: the registry refuses the profile.
    """
    delay_s, longest_s = _REGISTER_EVERY_S
    while not stopping.is_set():
        try:
            await call(connection, REGISTRY, REGISTER_AGENT, RegisterAgent(profile=profile), AgentView, timeout_s=5.0)
            return
        except InfrastructureError as exc:
            get_logger().debug("registry_not_reachable", error=str(exc))
        try:
            await asyncio.wait_for(stopping.wait(), delay_s)
        except TimeoutError:
            delay_s = min(delay_s * 1.5, longest_s)


async def heartbeats(
    connection: Connection, agent_id: str, instance: str, max_concurrent: int, active: Callable[[], int]
) -> None:
    """Say every 10 s that this instance is there, until cancelled."""
    while True:
        count = active()
        heartbeat = Heartbeat(
            agent_id=agent_id,
            instance=instance,
            status="working" if count else "idle",
            active=count,
            max_concurrent=max_concurrent,
            time=now(),
        )
        try:
            await publish_presence(connection, heartbeat)
        except NotReachableError:
            get_logger().debug("heartbeat_not_sent")
        await asyncio.sleep(HEARTBEAT_INTERVAL_S)


async def withdraw(connection: Connection, agent_id: str, instance: str) -> None:
    """Say that this instance leaves; silence says so as well, later."""
    try:
        await withdraw_presence(connection, agent_id, instance)
    except NotReachableError:
        get_logger().debug("leave_not_sent")
