"""One agent served by a process: its registration, its task queue, its heartbeats."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from syntor.agentkit.checkpoints.keeper import Keeper
from syntor.agentkit.checkpoints.retention import Retention
from syntor.agentkit.domain.checkpoint import Limits
from syntor.agentkit.execution.budget_store import BudgetStore
from syntor.agentkit.manifest import Manifest
from syntor.agentkit.model_resolver import ModelResolver
from syntor.agentkit.peer_directory import RegisteredPeers
from syntor.agentkit.tools.mcp_tools import McpTools
from syntor.agentkit.tools.tool import Tool
from syntor.agentkit.worker.registration import Registration
from syntor.agentkit.worker.takeover import SILENT_S, Takeover
from syntor.agentkit.worker.task_context_factory import TaskContextFactory
from syntor.agentkit.worker.task_worker import Invoke, TaskWorker
from syntor.contracts import subjects
from syntor.contracts.agent.v1 import AgentProfile
from syntor.contracts.bounds import Name
from syntor.contracts.clock import now
from syntor.contracts.run.v1 import RunCancelled, RunFailed
from syntor.contracts.topology import task_queue_consumer
from syntor.eventsourcing.dead_letters import record_in_run
from syntor.jetstream.admin import consumer_info
from syntor.jetstream.backlog import Backlog
from syntor.jetstream.connection import Subscription
from syntor.jetstream.consumer import Consumer
from syntor.jetstream.instances import Instances
from syntor.jetstream.requests import Endpoint, Service
from syntor.jetstream.store import JetStreamStore
from syntor.models.breaker import BreakerPolicy
from syntor.models.guard import GUARDS, BreakerView, GuardPolicy
from syntor.runtime.process import Runtime
from syntor.runtime.settings import ServiceSettings
from syntor.runtime.telemetry import message_context

_MB = 1024 * 1024
MAX_LAG = 1000  # pending tasks beyond which the queue counts as falling behind


class AgentSettings(ServiceSettings, frozen=True, kw_only=True):
    """Read from `SYNTOR_*`."""

    max_concurrent_tasks: int = 10
    """Tasks one instance works on concurrently; a manifest may set a lower limit."""
    breaker_failures: Annotated[int, Meta(ge=0, le=1000)] = 5
    """Calls to one endpoint of a model or external agent that fail in a row before it is not called; 0: no limit."""
    breaker_open_s: Annotated[float, Meta(ge=1, le=3600)] = 30.0
    """Seconds it is not called then, until one call tries it."""
    breaker_successes: Annotated[int, Meta(ge=1, le=100)] = 3
    """Such calls that must succeed in a row until it is called as before."""
    model_rate: Annotated[float, Meta(ge=0, le=10_000)] = 0.0
    """Calls a second to one endpoint, from one process; more wait. 0: no limit."""

    checkpoints: bool = True
    """Whether the state of a workspace is kept before an agent changes it, so that it can be undone."""
    checkpoint_files: Annotated[int, Meta(ge=1, le=10_000_000)] = 100_000
    """Files, links and folders of a workspace beyond which no state is kept."""
    checkpoint_file_mb: Annotated[int, Meta(ge=1, le=1024)] = 32
    """Megabytes of a file beyond which it is left out."""
    checkpoint_days: Annotated[float, Meta(gt=0, le=3650)] = 14.0
    """Days a state is kept."""
    checkpoint_repository_mb: Annotated[int, Meta(ge=16, le=10_000_000)] = 2048
    """Megabytes of one workspace's states beyond which the older ones are removed."""

    def keeper(self) -> Keeper | None:
        """Return what keeps the states of workspaces; None: none are kept."""
        if not self.checkpoints:
            return None
        limits = Limits(max_files=self.checkpoint_files, max_file_bytes=self.checkpoint_file_mb * _MB)
        retention = Retention(max_age_s=self.checkpoint_days * 86400, max_bytes=self.checkpoint_repository_mb * _MB)
        return Keeper(Path(self.home), limits, retention)

    def guards(self) -> GuardPolicy:
        """Return the limits of calls to one endpoint."""
        breaker = BreakerPolicy(self.breaker_failures, self.breaker_open_s, self.breaker_successes)
        return GuardPolicy(breaker, self.model_rate)


class StatusRequest(msgspec.Struct, frozen=True):
    """Requests the status of an instance."""


class StatusReply(msgspec.Struct, frozen=True):
    """Status of an instance."""

    instance: str
    active: int
    """Tasks in progress."""


class BreakersRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """Requests the circuit breakers of a process, or changes one."""

    action: Literal["", "reset", "open"] = ""
    """reset: closes it; open: opens it until it is reset; empty: changes none."""
    provider: Name = ""
    endpoint: Name = ""


class BreakersReply(msgspec.Struct, frozen=True):
    """Circuit breakers of a process."""

    breakers: list[BreakerView]


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
        self._spec = task_queue_consumer(manifest.id)
        GUARDS.configure(runtime.settings.guards())
        runtime.health.add_page("/breakers", lambda: msgspec.json.encode(GUARDS.views()))
        self._peers = RegisteredPeers(self._connection, store)
        self._mcp_tools = McpTools(Path(runtime.settings.home), os.environ)
        self._checkpoints = runtime.settings.keeper()
        self._models, contexts = self._dependencies(manifest)
        self._instances = Instances(self._connection, manifest.id, runtime.instance, lambda: self._consumer.held)
        self._worker = TaskWorker(
            manifest.id, runtime.instance, invoke, store, contexts, ask_standing=self._instances.standing
        )
        self._consumer = self._new_consumer()
        self._takeover = Takeover(
            self._connection, self._spec, manifest.id, store, self._instances, self._consumer.adopt
        )
        self._sweeping: asyncio.Task[None] | None = None
        self._remove_listener: Callable[[], object] = lambda: None
        self._service = self._new_service()
        self._run_ends: list[Subscription] = []
        self._registration = self._new_registration() if registers else None

    @property
    def failures(self) -> tuple[asyncio.Future[None], ...]:
        """Futures that fail with the exception of an unrecoverable failure."""
        failures = (self._consumer.failed,)
        return failures if self._registration is None else (*failures, self._registration.refused)

    async def start(self) -> None:
        """Register, and start to take tasks.

        Raises:
            RejectionError: the registry refuses the profile.
        """
        if self._registration is not None:
            await self._registration.start(self._spec)
        self._run_ends = [
            await self._connection.subscribe_direct(subjects.of_type(struct), self._worker.on_run_ended)
            for struct in (RunCancelled, RunFailed)
        ]
        await self._service.start()
        queue = self.manifest.id
        self._runtime.health.add_measurement(queue, Backlog(self._connection, self._spec, queue).measure)
        await self._instances.start()
        self._remove_listener = self._connection.on_reconnect(self._worker.check_owners)
        await self._consumer.start()
        self._sweeping = asyncio.create_task(self._takeover.run())
        if self._registration is not None:
            self._registration.start_heartbeats()

    async def reconfigure(self, manifest: Manifest, invoke: Invoke) -> None:
        """Apply a changed manifest to new tasks; tasks in progress keep the old one, and `max_concurrent` stays."""
        self.manifest = manifest
        before = self._models
        self._models, contexts = self._dependencies(manifest)
        self._worker.reconfigure(invoke, contexts)
        if self._registration is not None:
            await self._registration.update(self._profile())
        await before.close()

    async def stop(self, *, forget: bool = False) -> None:
        """Stop taking tasks, finish or requeue those in progress, and withdraw the presence.

        Args:
            forget: also deregister the agent.
        """
        if self._registration is not None:
            await self._registration.drain()
        self._runtime.health.remove_measurement(self.manifest.id)
        for subscription in self._run_ends:
            await subscription.unsubscribe()
        self._remove_listener()
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)
        await self._consumer.stop()
        await self._instances.stop()
        if self._registration is not None:
            await self._registration.withdraw(deregister=forget)
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

    def _new_consumer(self) -> Consumer:
        return Consumer(
            self._connection,
            self._spec,
            self._worker.handle,
            max_concurrent=self._max_concurrent,
            middleware=lambda recorded: message_context(recorded.envelope),
            ordered=False,
            on_dead_lettered=record_in_run(self._store, f"agent-{self.manifest.id}", now),
            on_stall=self._worker.check_owners,
            takes_work=lambda: self._runtime.loop_lag.allows_work(SILENT_S),
        )

    def _new_service(self) -> Service:
        return Service(
            self._connection,
            f"agent-{self.manifest.id}",
            version=self.manifest.version,
            description=self.manifest.description,
            endpoints=[
                Endpoint("status", StatusRequest, self._status, "Status of this instance"),
                Endpoint("breakers", BreakersRequest, self._breakers, "Circuit breakers of this process"),
            ],
            metadata={"instance": self._runtime.instance, "agent_id": self.manifest.id},
        )

    def _new_registration(self) -> Registration:
        runtime = self._runtime
        return Registration(
            self._connection,
            runtime.instance,
            self._profile(),
            runtime.stopping,
            lambda: self._worker.active,
            self._waits_for,
        )

    def _waits_for(self, what: str) -> None:
        self._runtime.health.waits_for = what

    def _profile(self) -> AgentProfile:
        return self.manifest.profile(self._max_concurrent)

    def _dependencies(self, manifest: Manifest) -> tuple[ModelResolver, TaskContextFactory]:
        home = Path(self._runtime.settings.home)
        models = ModelResolver(manifest.id, manifest.model, manifest.fallbacks, home, os.environ)
        tools = {name: tool for name, tool in self._tools.items() if name in manifest.tools}
        budgets = BudgetStore(self._store, f"agent-{manifest.id}", now)
        contexts = TaskContextFactory(
            manifest, self._store, models, tools, self._peers, budgets, self._mcp_tools, self._checkpoints
        )
        return models, contexts

    async def _breakers(self, request: BreakersRequest) -> BreakersReply:
        if request.action:
            GUARDS.set(request.provider, request.endpoint, request.action)
        return BreakersReply(GUARDS.views())

    async def _status(self, _: StatusRequest) -> StatusReply:
        return StatusReply(instance=self._runtime.instance, active=self._worker.active)
