"""Injects the faults of a scenario, and keeps account of who was interrupted when."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from syntor.simulation.scenario import Fault
from syntor.simulation.services import Instance, Interruption
from syntor.testing.simulation.client import SimulatedClient
from syntor.testing.simulation.loop import SimulatedLoop
from syntor.testing.simulation.server import Disturbance, SimulatedServer

_LOST: tuple[Disturbance, ...] = ("unavailable", "request_lost", "reply_lost", "none")


class Injector:
    """Injects faults into instances, links and the server."""

    def __init__(
        self,
        loop: SimulatedLoop,
        server: SimulatedServer,
        instances: Mapping[str, Instance],
        clients: SimulatedClient,
        rng: random.Random,
        note: Callable[[str], None],
    ) -> None:
        self.interruptions: list[Interruption] = []
        self.until_s = 0.0
        """Loop time at which the last fault ends."""
        self._loop = loop
        self._server = server
        self._instances = instances
        self._clients = clients
        self._rng = rng
        self._note = note
        self._no_leader_until = 0.0
        server.disturb = self._disturb

    def plan(self, faults: list[Fault]) -> None:
        """Plan faults, from now on."""
        for fault in faults:
            self._loop.call_in(self._loop.world, self._loop.now + fault.at_s, self._inject, fault)
            self.until_s = max(self.until_s, self._loop.now + fault.at_s + max(0.0, fault.duration_s))

    def _inject(self, fault: Fault) -> None:
        now, instance = self._loop.now, self._instances.get(fault.target)
        self._note(f"fault: {fault.action} {fault.target} {fault.duration_s:.2f} s")
        self.interruptions.append(Interruption(fault.target, now, now + abs(fault.duration_s)))
        match fault.action:
            case "crash" if instance is not None:
                instance.crash(fault.duration_s)
            case "stop" if instance is not None:
                instance.stop(fault.duration_s)
            case "stall" if instance is not None:
                instance.stall(fault.duration_s)
            case "clock" if instance is not None:
                instance.process.skew_s += fault.duration_s
            case "cut" | "silence":
                client = self._clients if instance is None else instance.client
                if client is not None:
                    self._cut(client, fault.duration_s if fault.action == "silence" else 0.0)
            case "server_restart":
                self._server.stop()
                self._loop.call_in(self._loop.world, now + fault.duration_s, self._server.start)
            case _:
                self._no_leader_until = now + fault.duration_s

    def _cut(self, client: SimulatedClient, silence_s: float) -> None:
        """Cut a link; client and server notice it at different times, late where nothing tells them."""
        link = client.link
        if link is None:
            return
        link.cut()
        world, now = self._loop.world, self._loop.now
        wait_s = silence_s or 0.02
        self._loop.call_in(world, now + wait_s * self._rng.random(), self._server.drop, link)
        self._loop.call_in(client.process or world, now + wait_s * self._rng.random(), client.lose, link)

    def _disturb(self) -> Disturbance:
        if self._loop.now >= self._no_leader_until:
            return "none"
        return _LOST[self._rng.randrange(len(_LOST))]
