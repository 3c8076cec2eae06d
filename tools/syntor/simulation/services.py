"""The services of a simulated world: each instance is a process that runs the composition root of its service."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

import syntor.orchestrator.__main__ as orchestrator
import syntor.projector.__main__ as projector
import syntor.registry.__main__ as registry
from syntor.agentkit.chat_agent import chat_agent
from syntor.agentkit.manifest import Manifest
from syntor.agentkit.worker.agent_service import AgentSettings
from syntor.agentkit.worker.entrypoint import serve
from syntor.jetstream.connection import Connection
from syntor.orchestrator.settings import OrchestratorSettings
from syntor.projector.settings import ProjectorSettings
from syntor.registry.settings import RegistrySettings
from syntor.runtime.health import Health
from syntor.runtime.loop_lag import INTERVAL_S, LoopLag
from syntor.runtime.process import STOP_BUDGET_S, Runtime
from syntor.runtime.settings import ServiceSettings
from syntor.simulation.scenario import AGENT, TEAM
from syntor.testing.simulation.client import SimulatedClient, connect_simulated
from syntor.testing.simulation.loop import SimulatedLoop, SimulatedProcess
from syntor.testing.simulation.server import SimulatedServer

HOME = "/nonexistent/simulated"
_FIN_S = 0.01  # time in which the server notices that the socket of a dead process is closed
Main = Callable[[Runtime[Any]], Awaitable[None]]

_MANIFESTS = {
    AGENT: Manifest(
        id=AGENT, name="Worker", description="Works", prompt="-", tools=["ring", "ask_ring"], model="scripted/model"
    ),
    TEAM: Manifest(
        id=TEAM, name="Team", description="Delegates", prompt="-", tools=["delegate", "plan"], model="scripted/model"
    ),
}


def _agent(manifest: Manifest) -> Main:
    async def main(runtime: Runtime[AgentSettings]) -> None:
        await serve(runtime, manifest, chat_agent(manifest))

    return main


MAINS: dict[str, tuple[Main, type[ServiceSettings]]] = {
    "orchestrator": (orchestrator.main, OrchestratorSettings),
    "registry": (registry.main, RegistrySettings),
    "projector": (projector.main, ProjectorSettings),
    f"agent-{AGENT}": (_agent(_MANIFESTS[AGENT]), AgentSettings),
    f"agent-{TEAM}": (_agent(_MANIFESTS[TEAM]), AgentSettings),
}


class Interruption(msgspec.Struct, frozen=True):
    """A time in which an instance, or the server, did not work as usual."""

    instance: str
    """Empty: the server, which concerns all."""
    began_s: float
    ended_s: float


class Instance:
    """One instance of a service: its process, and a new one after each end of it."""

    def __init__(
        self,
        loop: SimulatedLoop,
        server: SimulatedServer,
        service: str,
        name: str,
        rng: random.Random,
        note: Callable[[str], None],
    ) -> None:
        self.name = name
        self.service = service
        self.process = SimulatedProcess(name)
        self.ended: list[SimulatedProcess] = []
        """Processes of this instance that ended."""
        self.failures: list[str] = []
        """What its main function raised."""
        self.runtime: Runtime[Any] | None = None
        self.client: SimulatedClient | None = None
        self._loop = loop
        self._server = server
        self._rng = rng
        self._note = note
        self._number = 0
        self._lag = LoopLag()

    def start(self) -> None:
        """Start a new process."""
        self._number += 1
        self.process = SimulatedProcess(self.name)
        self._note(f"{self.name} starts")
        self._loop.spawn(self.process, self._life(self.process))

    def crash(self, restart_s: float) -> None:
        """Kill the process: nothing of it runs any more; what it sent may still arrive."""
        process, client = self.process, self.client
        if not process.alive:
            return
        self._note(f"{self.name} dies")
        process.alive = False
        self.ended.append(process)
        self.runtime = self.client = None
        if client is not None and client.link is not None:
            link = client.link
            if self._rng.random() < 0.5:
                link.cut()
            else:
                link.finish_sending()
            self._loop.call_in(self._loop.world, self._loop.now + _FIN_S * self._rng.random(), self._server.drop, link)
        self._loop.call_in(self._loop.world, self._loop.now + restart_s, self.start)

    def stall(self, seconds: float) -> None:
        """Run nothing of the process for some time; its measurement of the loop's lag sees that first."""
        process, lag = self.process, self._lag
        self._note(f"{self.name} stalls")
        self._loop.stall(process, seconds)
        resumed = self._loop.now + seconds
        self._loop.call_in(process, resumed, lag.record, seconds)
        self._loop.call_in(process, resumed + INTERVAL_S, lag.record, 0.0)

    def stop(self, restart_s: float) -> None:
        """Ask the process to stop, and kill it when it does not in time."""
        process, runtime = self.process, self.runtime
        if not process.alive or runtime is None:
            return
        self._note(f"{self.name} is asked to stop")
        self._loop.call_in(process, self._loop.now, runtime.stopping.set)

        def kill() -> None:
            if self.process is process and process.alive:
                if process.stalled_until < asked:  # a process that stalls cannot stop, whenever the stall began
                    self.failures.append(f"{self.name} did not stop within {STOP_BUDGET_S:g} s")
                self.crash(restart_s)

        asked = self._loop.now
        if not process.stalled_until > asked:
            self._loop.call_in(self._loop.world, asked + STOP_BUDGET_S + 1, kill)

    async def _life(self, process: SimulatedProcess) -> None:
        main, settings_type = MAINS[self.service]
        connection = await self._connect(process)
        lag = self._lag = LoopLag()
        settings = settings_type(instance=f"{self.name}-{self._number}", home=HOME)
        runtime = Runtime(self.service, settings.instance, settings, connection, Health(), asyncio.Event(), lag)
        self.runtime = runtime
        try:
            await main(runtime)
            if not runtime.stopping.is_set():
                self.failures.append(f"{self.name} returned")
        except Exception as exc:  # noqa: BLE001 - as `run_service`: the process ends
            self.failures.append(f"{self.name} ended: {type(exc).__name__}: {exc}")
        await connection.close()
        self._note(f"{self.name} ended")
        self.crash(0.5)

    async def _connect(self, process: SimulatedProcess) -> Connection:
        while True:
            try:
                connection, self.client = await connect_simulated(self._server, f"syntor/{self.name}", process)
                return connection
            except ConnectionRefusedError:
                await asyncio.sleep(0.1)
