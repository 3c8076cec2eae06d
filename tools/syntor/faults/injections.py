"""Faults injected after the n-th event from now: into a process, into a connection, or into the log itself.

A process is killed, paused, or terminated; the connection of the second instances is delayed, reset, or loses one
direction; the log refuses appends for some seconds, as when its disk is full. An injection waits only for its own
target to be ready again, so several targets can be down at a time.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from syntor.contracts.errors import InfrastructureError
from syntor.contracts.topology import EVENTS
from syntor.faults import proxy, second_instances
from syntor.faults.proxy import Proxy
from syntor.faults.second_instances import SecondInstances
from syntor.jetstream.admin import api
from syntor.jetstream.connection import connect
from syntor.stack.layout import Layout
from syntor.stack.state import read_state
from syntor.testing.local_stack import LocalStack

SERVICES = ("ingress", "orchestrator", "registry", "projector", "agent-worker", "agent-coordination", "nats")
ACTIONS = ("kill", "kill", "kill", "pause", "restart")  # mostly kills
CONNECTION, LOG, SECOND = "connection", "log", "second "
READY_S = 60.0
_POLL_S = 0.05
_STALL_S = (1.0, 9.0)  # shortest pause of a process, and what is added to it at most: shorter than a task's lease
_SHARES = (70, 15, 10, 5)  # of services, the connection, second instances, the log


class Injection(msgspec.Struct, frozen=True):
    """One fault."""

    service: str
    """A service, `second <service>`, `connection` or `log`."""
    action: str
    events: int
    """Number of events of the log it waits for first."""
    pause_s: float


class Kill(msgspec.Struct, frozen=True):
    """A process that was killed."""

    service: str
    at: datetime


class Disruption(msgspec.Struct, frozen=True):
    """A fault that may interrupt a model call: all except the pause of a process."""

    service: str
    began: datetime
    ended: datetime


def plan(seed: int, points: int, *, plain: bool = False) -> list[Injection]:
    """Return the faults of a seed: the same for the same seed.

    Args:
        plain: only into the services of the stack itself.
    """
    rng = random.Random(seed)
    seconds = [(SECOND + name, "kill") for name in second_instances.SERVICES]
    if second_instances.find_faketime():
        seconds += [(SECOND + second_instances.SKEWED, "jump")] * len(seconds)

    def one() -> Injection:
        kind = 0 if plain else rng.choices(range(4), _SHARES)[0]
        what = (
            (rng.choice(SERVICES), rng.choice(ACTIONS)),
            (CONNECTION, rng.choice(proxy.MODES)),
            rng.choice(seconds),
            (LOG, "full"),
        )[kind]
        events, random_part = rng.randrange(12), rng.random()
        if what[1] == "pause" and what[0] != "nats":
            return Injection(*what, events, _STALL_S[0] + random_part * _STALL_S[1])
        return Injection(*what, events, 0.2 + random_part * 1.5)

    return [one() for _ in range(points)]


class Injector:
    """Injects faults and counts them."""

    def __init__(
        self, stack: LocalStack, events_seen: Callable[[], int], second: SecondInstances | None, network: Proxy | None
    ) -> None:
        self._stack = stack
        self._state = Layout(stack.home).state
        self._seen = events_seen
        self._second = second
        self._network = network
        self.injected: Counter[str] = Counter()
        self.kills: list[Kill] = []
        self.disruptions: list[Disruption] = []
        self._injected_pid: dict[str, int] = {}

    def inject(self, injection: Injection) -> None:
        """Wait for the number of events, and inject the fault."""
        began = datetime.now(UTC)
        if injection.service == CONNECTION and self._network is not None:
            self._wait_events(injection.events)
            self._network.inject(injection.action, injection.pause_s)
        elif injection.service == LOG:
            self._wait_events(injection.events)
            asyncio.run(_fill_log(self._stack, injection.pause_s))
        elif injection.service.startswith(SECOND) and self._second is not None:
            self._wait_events(injection.events)
            if injection.action == "jump":
                self._second.jump()
            else:
                self._second.kill(injection.service.removeprefix(SECOND))
        else:
            self._inject_service(injection)
        self.injected[f"{injection.action} {injection.service}"] += 1
        if injection.action != "pause" or injection.service == "nats":
            self.disruptions.append(Disruption(injection.service, began, datetime.now(UTC)))

    def _inject_service(self, injection: Injection) -> None:
        pid = self._ready(injection.service)
        self._wait_events(injection.events)
        try:
            match injection.action:
                case "kill":
                    os.kill(pid, signal.SIGKILL)
                    self.kills.append(Kill(injection.service, datetime.now(UTC)))
                case "pause":
                    os.kill(pid, signal.SIGSTOP)
                    threading.Event().wait(injection.pause_s)
                    os.kill(pid, signal.SIGCONT)
                case _:
                    os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            pass  # it exited just before
        if injection.action != "pause":
            self._injected_pid[injection.service] = pid

    def wait_all(self) -> None:
        """Wait until every service is ready again."""
        for service in SERVICES:
            self._ready(service)

    def _wait_events(self, count: int) -> None:
        target, deadline = self._seen() + count, time.monotonic() + 2.0
        while self._seen() < target and time.monotonic() < deadline:
            threading.Event().wait(0.001)

    def _ready(self, service: str) -> int:
        """Wait until a service is ready, as another process than the one last killed; return its pid."""
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            state = read_state(self._state)
            row = next((row for row in state.services if row.name == service), None) if state is not None else None
            if row is not None and row.pid and row.state == "ready" and row.pid != self._injected_pid.get(service):
                return row.pid
            time.sleep(_POLL_S)
        raise TimeoutError(f"{service} is not ready within {READY_S:g} s")


async def _fill_log(stack: LocalStack, seconds: float) -> None:
    """Let the log refuse appends for some seconds; does nothing when NATS is unavailable."""
    try:
        connection = await connect(stack.nats_url, "syntor/faults", access=stack.admin)
    except InfrastructureError:
        return
    try:
        found = await api(connection, f"STREAM.INFO.{EVENTS}")
        full = found["config"] | {"max_bytes": max(1, found["state"]["bytes"])}
        await api(connection, f"STREAM.UPDATE.{EVENTS}", full)
        await asyncio.sleep(seconds)
        async with asyncio.timeout(READY_S):
            while True:
                try:
                    await api(connection, f"STREAM.UPDATE.{EVENTS}", found["config"])
                    break
                except InfrastructureError:
                    await asyncio.sleep(_POLL_S)
    except InfrastructureError:
        pass  # NATS became unavailable before the log was full
    finally:
        await connection.close()
