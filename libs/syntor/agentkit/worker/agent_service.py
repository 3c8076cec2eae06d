"""One agent served by a process: its registration, its task queue, its heartbeats."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from syntor.agentkit.execution.budget_store import BudgetStore
from syntor.agentkit.manifest import Manifest
from syntor.agentkit.model_resolver import ModelResolver
from syntor.agentkit.peer_directory import RegisteredPeers
from syntor.agentkit.tools.mcp_tools import McpTools
from syntor.agentkit.tools.tool import Tool
from syntor.agentkit.worker.task_context_factory import TaskContextFactory
from syntor.agentkit.worker.task_worker import Invoke, TaskWorker, now
from syntor.contracts import subjects
from syntor.contracts.agent.v1 import AgentProfile
from syntor.contracts.errors import InfrastructureError, NotFoundError, NotReachableError, RejectionError
from syntor.contracts.rpc.v1 import (
    DEREGISTER_AGENT,
    REGISTER_AGENT,
    REGISTRY,
    AgentView,
    DeregisterAgent,
    Heartbeat,
    RegisterAgent,
)
from syntor.contracts.topology import HEARTBEAT_INTERVAL_S, task_queue_consumer
from syntor.eventsourcing.dead_letters import record_in_run
from syntor.jetstream.admin import consumer_info
from syntor.jetstream.connection import Connection, Subscription
from syntor.jetstream.consumer import Consumer
from syntor.jetstream.presence import publish_presence, withdraw_presence
from syntor.jetstream.requests import Endpoint, Service, call
from syntor.jetstream.store import JetStreamStore
from syntor.runtime.process import Runtime
from syntor.runtime.settings import ServiceSettings
from syntor.runtime.telemetry import get_logger, message_context

MAX_LAG = 1000  # pending tasks beyond which the queue counts as falling behind
_REGISTER_BACKOFF_S = (0.05, 1.0)  # first and longest pause between attempts


class AgentSettings(ServiceSettings, frozen=True, kw_only=True):
    """Read from `SYNTOR_*`."""

    max_concurrent_tasks: int = 10
    """Tasks one instance works on concurrently; a manifest may set a lower limit."""


class StatusRequest(msgspec.Struct, frozen=True):
    """Requests the status of an instance."""


class StatusReply(msgspec.Struct, frozen=True):
    """Status of an instance."""

    instance: str
    active: int
    """Tasks in progress."""


class AgentService:
    """Serves one agent's queue from `start` to `stop`."""

    def __init__(
        self,
        runtime: Runtime[AgentSettings],
        manifest: Manifest,
        invoke: Invoke,
        store: JetStreamStore,
        tools: Mapping[str, Tool],
        *,
        registers: bool = True,
    ) -> None:
        """Assemble the service of an agent.

        Args:
            tools: all known tools; the manifest names those of this agent.
            registers: False for a queue that belongs to no single agent and is declared in the topology.
        """
        self.manifest = manifest
        self._runtime = runtime
        self._connection = runtime.connection
        self._store = store
        self._tools = tools
        self._registers = registers
        self._spec = task_queue_consumer(manifest.id)
        self._peers = RegisteredPeers(self._connection, store)
        self._mcp_tools = McpTools(Path(runtime.settings.home), os.environ)
        self._models, contexts = self._dependencies(manifest)
        self._worker = TaskWorker(manifest.id, runtime.instance, invoke, store, contexts)
        self._consumer = Consumer(
            self._connection,
            self._spec,
            self._worker.handle,
            max_concurrent=self._max_concurrent,
            middleware=lambda recorded: message_context(recorded.envelope),
            ordered=False,
            on_dead_lettered=record_in_run(store, f"agent-{manifest.id}", now),
        )
        self._service = Service(
            self._connection,
            f"agent-{manifest.id}",
            version=manifest.version,
            description=manifest.description,
            endpoints=[Endpoint("status", StatusRequest, self._status, "Status of this instance")],
            metadata={"instance": runtime.instance, "agent_id": manifest.id},
        )
        self._run_ends: list[Subscription] = []
        self._registering: asyncio.Task[None] | None = None
        self._refused: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._heartbeats: asyncio.Task[None] | None = None

    @property
    def failures(self) -> tuple[asyncio.Future[None], ...]:
        """Futures that fail with the exception of an unrecoverable failure."""
        return self._service.failed, self._consumer.failed, self._refused

    async def start(self) -> None:
        """Register, and start to take tasks.

        Raises:
            RejectionError: the registry refuses the profile.
        """
        if self._registers:
            await self._register()
        self._run_ends = [
            await self._connection.subscribe_direct(subjects.of_type("run", type_), self._worker.on_run_ended)
            for type_ in ("run_cancelled", "run_failed")
        ]
        await self._service.start()
        await self._consumer.start()
        if self._registers:
            self._heartbeats = asyncio.create_task(self._publish_heartbeats())

    async def _register(self) -> None:
        """Register; where the queue exists already, work starts without waiting for the registry."""
        try:
            await consumer_info(self._connection, self._spec)
        except (NotFoundError, InfrastructureError):
            await register(self._connection, self._profile(), self._runtime.stopping)
            return
        self._registering = asyncio.create_task(self._register_later())

    async def _register_later(self) -> None:
        try:
            await register(self._connection, self._profile(), self._runtime.stopping)
        except RejectionError as exc:
            if not self._refused.done():
                self._refused.set_exception(exc)

    async def _cancel_registration(self) -> None:
        if self._registering is not None:
            self._registering.cancel()
            await asyncio.gather(self._registering, return_exceptions=True)

    async def reconfigure(self, manifest: Manifest, invoke: Invoke) -> None:
        """Apply a changed manifest to new tasks; tasks in progress keep the old one, and `max_concurrent` stays."""
        await self._cancel_registration()  # of the old manifest
        self.manifest = manifest
        before = self._models
        self._models, contexts = self._dependencies(manifest)
        self._worker.reconfigure(invoke, contexts)
        await register(self._connection, self._profile(), self._runtime.stopping)
        await before.close()

    async def stop(self, *, forget: bool = False) -> None:
        """Stop taking tasks, finish or requeue those in progress, and withdraw the presence.

        Args:
            forget: also deregister the agent.
        """
        await self._cancel_registration()
        if self._heartbeats is not None:
            self._heartbeats.cancel()
            await asyncio.gather(self._heartbeats, return_exceptions=True)
            await self._publish_heartbeat("draining")
        for subscription in self._run_ends:
            await subscription.unsubscribe()
        await self._consumer.stop()
        if self._registers:
            await self._leave(forget)
        await self._service.stop()
        await self._mcp_tools.close()
        await self._models.close()

    async def lag(self) -> str | None:
        """Return the problem with the queue, for a readiness check; None: none."""
        pending = (await consumer_info(self._connection, self._spec)).pending
        name = self.manifest.id
        return f"{pending} tasks are pending in the queue {name}; start more instances" if pending > MAX_LAG else None

    @property
    def _max_concurrent(self) -> int:
        return min(self._runtime.settings.max_concurrent_tasks, self.manifest.constraints.max_concurrent)

    def _profile(self) -> AgentProfile:
        return self.manifest.profile(self._max_concurrent)

    def _dependencies(self, manifest: Manifest) -> tuple[ModelResolver, TaskContextFactory]:
        home = Path(self._runtime.settings.home)
        models = ModelResolver(manifest.id, manifest.model, manifest.fallbacks, home, os.environ)
        tools = {name: tool for name, tool in self._tools.items() if name in manifest.tools}
        budgets = BudgetStore(self._store, f"agent-{manifest.id}", now)
        contexts = TaskContextFactory(manifest, self._store, models, tools, self._peers, budgets, self._mcp_tools)
        return models, contexts

    async def _status(self, _: StatusRequest) -> StatusReply:
        return StatusReply(instance=self._runtime.instance, active=self._worker.active)

    async def _publish_heartbeats(self) -> None:
        """Publish a heartbeat every 10 s, until cancelled."""
        while True:
            await self._publish_heartbeat("working" if self._worker.active else "idle")
            await asyncio.sleep(HEARTBEAT_INTERVAL_S)

    async def _publish_heartbeat(self, status: str) -> None:
        heartbeat = Heartbeat(
            agent_id=self.manifest.id,
            instance=self._runtime.instance,
            status=status,
            active=self._worker.active,
            max_concurrent=self._max_concurrent,
            time=now(),
        )
        try:
            await publish_presence(self._connection, heartbeat)
        except NotReachableError:
            get_logger().debug("heartbeat_not_sent")

    async def _leave(self, forget: bool) -> None:
        """Withdraw the presence of this instance; without it the presence expires later."""
        agent_id = self.manifest.id
        try:
            if forget:
                request = DeregisterAgent(agent_id=agent_id, reason="its manifest was removed")
                await call(self._connection, REGISTRY, DEREGISTER_AGENT, request, AgentView)
            await withdraw_presence(self._connection, agent_id, self._runtime.instance)
        except InfrastructureError as exc:
            get_logger().debug("withdrawal_not_sent", error=str(exc))


async def register(connection: Connection, profile: AgentProfile, stopping: asyncio.Event) -> None:
    """Register an agent; the registry then creates its queue. Retries until the registry is available or `stopping`.

    Raises:
        RejectionError: the registry refuses the profile.
    """
    delay_s, longest_s = _REGISTER_BACKOFF_S
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
