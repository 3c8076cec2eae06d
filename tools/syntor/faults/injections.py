"""Faults at chosen moments: a process killed, stopped for a while, or told to leave, behind the n-th event from now.

Nothing waits for the struck service to be back but the next strike at the same one: several are away at a time.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from syntor.stack.layout import Layout
from syntor.stack.state import read_state

SERVICES = ("ingress", "orchestrator", "registry", "projector", "agent-worker", "agent-coordination", "nats")
ACTIONS = ("kill", "kill", "kill", "pause", "restart")  # kills are what must never matter
READY_S = 60.0
_LOOK_S = 0.05


class Injection(msgspec.Struct, frozen=True):
    """One fault."""

    service: str
    action: str
    events: int
    """How many events of the log it waits for before it strikes."""
    pause_s: float


class Kill(msgspec.Struct, frozen=True):
    """A process that was killed."""

    service: str
    at: datetime


def plan(seed: int, points: int) -> list[Injection]:
    """Return the faults of a seed: the same for the same seed."""
    dice = random.Random(seed)
    return [
        Injection(dice.choice(SERVICES), dice.choice(ACTIONS), dice.randrange(12), 0.2 + dice.random() * 1.5)
        for _ in range(points)
    ]


class Injector:
    """Strikes services that are there."""

    def __init__(self, home: Path, events_seen: Callable[[], int]) -> None:
        self._state = Layout(home).state
        self._seen = events_seen
        self.struck: Counter[str] = Counter()
        self.kills: list[Kill] = []
        self._struck_pid: dict[str, int] = {}

    def strike(self, injection: Injection) -> None:
        """Wait for the moment, and do it."""
        pid = self._ready(injection.service)
        self._wait_events(injection.events)
        try:
            match injection.action:
                case "kill":
                    os.kill(pid, signal.SIGKILL)
                    self.kills.append(Kill(injection.service, datetime.now(UTC)))
                case "pause":
                    os.kill(pid, signal.SIGSTOP)
                    time.sleep(injection.pause_s)
                    os.kill(pid, signal.SIGCONT)
                case _:
                    os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            pass  # it was on its way already
        self.struck[f"{injection.action} {injection.service}"] += 1
        if injection.action != "pause":
            self._struck_pid[injection.service] = pid

    def wait_all(self) -> None:
        """Wait until every service is there again."""
        for service in SERVICES:
            self._ready(service)

    def _wait_events(self, count: int) -> None:
        target, deadline = self._seen() + count, time.monotonic() + 2.0
        while self._seen() < target and time.monotonic() < deadline:
            threading.Event().wait(0.001)

    def _ready(self, service: str) -> int:
        """Wait until a service is ready, as another process than the one struck last; return its pid."""
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            state = read_state(self._state)
            row = next((row for row in state.services if row.name == service), None) if state is not None else None
            if row is not None and row.pid and row.state == "ready" and row.pid != self._struck_pid.get(service):
                return row.pid
            time.sleep(_LOOK_S)
        raise TimeoutError(f"{service} is not back within {READY_S:g} s")
