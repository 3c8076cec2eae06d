"""An instance's registration with the registry, and its heartbeats."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from syntor.contracts.agent.v1 import AgentProfile
from syntor.contracts.clock import now
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
from syntor.contracts.topology import HEARTBEAT_INTERVAL_S, ConsumerSpec
from syntor.contracts.vocabulary import AgentStatus
from syntor.jetstream.admin import consumer_info
from syntor.jetstream.connection import Connection
from syntor.jetstream.presence import publish_presence, withdraw_presence
from syntor.jetstream.requests import call
from syntor.runtime.telemetry import get_logger

_BACKOFF_S = (0.05, 1.0)  # first and longest pause between attempts
_REQUEST_TIMEOUT_S = 5.0


class Registration:
    """Registers one instance of an agent and publishes its heartbeats."""

    def __init__(
        self,
        connection: Connection,
        instance: str,
        profile: AgentProfile,
        stopping: asyncio.Event,
        active: Callable[[], int],
        waits_for: Callable[[str], None],
    ) -> None:
        """Create it without registering.

        Args:
            stopping: set once the process stops, which ends attempts to register.
            active: returns the number of tasks in progress.
            waits_for: is told what the registration waits for; an empty text: nothing any more.
        """
        self._connection = connection
        self._instance = instance
        self._profile = profile
        self._stopping = stopping
        self._active = active
        self._waits_for = waits_for
        self._registering: asyncio.Task[None] | None = None
        self._heartbeats: asyncio.Task[None] | None = None
        self.refused: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Fails with the RejectionError of a registration in the background."""

    async def start(self, queue: ConsumerSpec) -> None:
        """Register; where the queue exists already, in the background, so that work starts without the registry.

        Raises:
            RejectionError: the registry refuses the profile.
        """
        try:
            await consumer_info(self._connection, queue)
        except (NotFoundError, InfrastructureError):
            await self._register()
            return
        self._registering = asyncio.create_task(self._register_in_background())

    async def update(self, profile: AgentProfile) -> None:
        """Register a changed profile.

        Raises:
            RejectionError: the registry refuses it.
        """
        await self._cancel(self._registering)
        self._profile = profile
        await self._register()

    def start_heartbeats(self) -> None:
        """Publish a heartbeat every 10 s from now on."""
        self._heartbeats = asyncio.create_task(self._publish_heartbeats())

    async def drain(self) -> None:
        """Stop registering, and announce that the instance takes no new tasks."""
        await self._cancel(self._registering)
        if self._heartbeats is not None:
            await self._cancel(self._heartbeats)
            await self._publish("draining")

    async def withdraw(self, *, deregister: bool) -> None:
        """Withdraw the presence of the instance; where that fails, it expires.

        Args:
            deregister: also deregister the agent.
        """
        agent_id = self._profile.agent_id
        try:
            if deregister:
                request = DeregisterAgent(agent_id=agent_id, reason="its manifest was removed")
                await call(self._connection, REGISTRY, DEREGISTER_AGENT, request, AgentView)
            await withdraw_presence(self._connection, agent_id, self._instance)
        except InfrastructureError as exc:
            get_logger().debug("withdrawal_not_sent", error=str(exc))

    async def _register(self) -> None:
        """Register the profile, whose queue the registry then creates; retries until the registry is available."""
        request = RegisterAgent(profile=self._profile)
        delay_s, longest_s = _BACKOFF_S
        while not self._stopping.is_set():
            try:
                await call(self._connection, REGISTRY, REGISTER_AGENT, request, AgentView, timeout_s=_REQUEST_TIMEOUT_S)
                self._waits_for("")
                return
            except InfrastructureError as exc:
                self._waits_for(f"the registry: {exc}")
            try:
                await asyncio.wait_for(self._stopping.wait(), delay_s)
            except TimeoutError:
                delay_s = min(delay_s * 1.5, longest_s)

    async def _register_in_background(self) -> None:
        try:
            await self._register()
        except RejectionError as exc:
            if not self.refused.done():
                self.refused.set_exception(exc)

    async def _publish_heartbeats(self) -> None:
        while True:
            await self._publish("working" if self._active() else "idle")
            await asyncio.sleep(HEARTBEAT_INTERVAL_S)

    async def _publish(self, status: AgentStatus) -> None:
        heartbeat = Heartbeat(
            agent_id=self._profile.agent_id,
            instance=self._instance,
            status=status,
            active=self._active(),
            max_concurrent=self._profile.max_concurrent,
            time=now(),
        )
        try:
            await publish_presence(self._connection, heartbeat)
        except NotReachableError:
            get_logger().debug("heartbeat_not_sent")

    async def _cancel(self, task: asyncio.Task[None] | None) -> None:
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
