"""One agent served by a process: its registration, its queue, its heartbeats."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from syntor.agentkit.budgets import Budgets
from syntor.agentkit.choosing import ModelChoice
from syntor.agentkit.colleagues import RegisteredColleagues
from syntor.agentkit.equipment import Equipment
from syntor.agentkit.external_tools import ExternalTools
from syntor.agentkit.host import AgentHost, Invoke, now
from syntor.agentkit.manifest import Manifest
from syntor.agentkit.tools.tool import Tool
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


class AgentServer:
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
        """Put an agent together.

        Args:
            tools: all tools there are; the manifest names those of this agent.
            registers: False for a queue that is not an agent of its own, and is declared in the topology.
        """
        self.manifest = manifest
        self._runtime = runtime
        self._connection = runtime.connection
        self._store = store
        self._tools = tools
        self._registers = registers
        self._spec = task_queue_consumer(manifest.id)
        self._colleagues = RegisteredColleagues(self._connection, store)
        self._external = ExternalTools(Path(runtime.settings.home), os.environ)
        self._models, equipment = self._equipment(manifest)
        self._host = AgentHost(manifest.id, runtime.instance, invoke, store, equipment)
        self._consumer = Consumer(
            self._connection,
            self._spec,
            self._host.handle,
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
            endpoints=[Endpoint("status", StatusRequest, self._status, "How this instance is")],
            metadata={"instance": runtime.instance, "agent_id": manifest.id},
        )
        self._ends: list[Subscription] = []
        self._registering: asyncio.Task[None] | None = None
        self._refused: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._beating: asyncio.Task[None] | None = None

    @property
    def failures(self) -> tuple[asyncio.Future[None], ...]:
        """Futures that hold the exception of what went wrong for good."""
        return self._service.failed, self._consumer.failed, self._refused

    async def start(self) -> None:
        """Register, and begin to take tasks.

        Raises:
            RejectionError: the registry refuses the profile.
        """
        if self._registers:
            await self._register()
        self._ends = [
            await self._connection.subscribe_direct(subjects.of_type("run", type_), self._host.on_run_ended)
            for type_ in ("run_cancelled", "run_failed")
        ]
        await self._service.start()
        await self._consumer.start()
        if self._registers:
            self._beating = asyncio.create_task(self._beat())

    async def _register(self) -> None:
        """Register; where the queue is there from before, work need not wait for the registry to be back."""
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

    async def _give_up_registering(self) -> None:
        if self._registering is not None:
            self._registering.cancel()
            await asyncio.gather(self._registering, return_exceptions=True)

    async def change(self, manifest: Manifest, invoke: Invoke) -> None:
        """Take on a changed manifest; tasks in work end as they began, and `max_concurrent` stays as it was."""
        await self._give_up_registering()  # of the manifest as it was
        self.manifest = manifest
        before = self._models
        self._models, equipment = self._equipment(manifest)
        self._host.equip(invoke, equipment)
        await register(self._connection, self._profile(), self._runtime.stopping)
        await before.close()

    async def stop(self, *, forget: bool = False) -> None:
        """Stop taking tasks, end or hand back those in work, and say so.

        Args:
            forget: the agent is no more; it is deregistered.
        """
        await self._give_up_registering()
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)
            await self._say("draining")
        for subscription in self._ends:
            await subscription.unsubscribe()
        await self._consumer.stop()
        if self._registers:
            await self._leave(forget)
        await self._service.stop()
        await self._external.close()
        await self._models.close()

    async def lag(self) -> str | None:
        """Say what is wrong with the queue, for a readiness check."""
        pending = (await consumer_info(self._connection, self._spec)).pending
        name = self.manifest.id
        return f"{pending} tasks wait in the queue {name}; start more instances" if pending > MAX_LAG else None

    @property
    def _max_concurrent(self) -> int:
        return min(self._runtime.settings.max_concurrent_tasks, self.manifest.constraints.max_concurrent)

    def _profile(self) -> AgentProfile:
        return self.manifest.profile(self._max_concurrent)

    def _equipment(self, manifest: Manifest) -> tuple[ModelChoice, Equipment]:
        home = Path(self._runtime.settings.home)
        models = ModelChoice(manifest.id, manifest.model, manifest.fallbacks, home, os.environ)
        tools = {name: tool for name, tool in self._tools.items() if name in manifest.tools}
        budgets = Budgets(self._store, f"agent-{manifest.id}", now)
        return models, Equipment(manifest, self._store, models, tools, self._colleagues, budgets, self._external)

    async def _status(self, _: StatusRequest) -> StatusReply:
        return StatusReply(instance=self._runtime.instance, active=self._host.active)

    async def _beat(self) -> None:
        """Say every 10 s that this instance is there, until cancelled."""
        while True:
            await self._say("working" if self._host.active else "idle")
            await asyncio.sleep(HEARTBEAT_INTERVAL_S)

    async def _say(self, status: str) -> None:
        heartbeat = Heartbeat(
            agent_id=self.manifest.id,
            instance=self._runtime.instance,
            status=status,
            active=self._host.active,
            max_concurrent=self._max_concurrent,
            time=now(),
        )
        try:
            await publish_presence(self._connection, heartbeat)
        except NotReachableError:
            get_logger().debug("heartbeat_not_sent")

    async def _leave(self, forget: bool) -> None:
        """Say that this instance leaves; silence says so as well, later."""
        agent_id = self.manifest.id
        try:
            if forget:
                gone = DeregisterAgent(agent_id=agent_id, reason="its manifest was removed")
                await call(self._connection, REGISTRY, DEREGISTER_AGENT, gone, AgentView)
            await withdraw_presence(self._connection, agent_id, self._runtime.instance)
        except InfrastructureError as exc:
            get_logger().debug("leave_not_sent", error=str(exc))


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
