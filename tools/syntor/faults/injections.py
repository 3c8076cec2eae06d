"""Injects faults after the n-th event: into processes, connections, the log, its files, the machine, disks, a database.

An injection waits only for its own target to be ready again, so several targets can be down at a time. A pause and a
partition continue in the background while further faults are injected.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec

from syntor.contracts.decoding import UNDECODABLE
from syntor.contracts.errors import InfrastructureError
from syntor.contracts.topology import EVENTS
from syntor.faults import machine, plan
from syntor.faults.crashed_copies import CrashedCopies
from syntor.faults.fault import (
    CONNECTION,
    DATABASE,
    DISK,
    KILL,
    LOG,
    MACHINE,
    MEMORY,
    PAUSE,
    RESTART,
    SECOND,
    STORE,
    Fault,
)
from syntor.faults.plan import SERVICES, Injection
from syntor.faults.postgres import Postgres
from syntor.faults.proxy import Proxy
from syntor.faults.second_instances import SecondInstances
from syntor.faults.takeover import PARTITION
from syntor.jetstream.admin import api
from syntor.jetstream.connection import connect
from syntor.stack.layout import Layout
from syntor.stack.state import read_state
from syntor.testing.local_stack import LocalStack

READY_S = 90.0
_POLL_S = 0.05
_REMOUNT_TRIES = 50


class Targets(msgspec.Struct):
    """What faults are injected into; None: not part of this campaign."""

    stack: LocalStack
    second: SecondInstances | None = None
    network: Proxy | None = None
    disks: machine.Disks | None = None
    postgres: Postgres | None = None
    crashes: CrashedCopies | None = None


class Injector:
    """Injects faults and records them."""

    def __init__(self, targets: Targets, events_seen: Callable[[], int]) -> None:
        self._targets = targets
        self._stack = targets.stack
        self._state = Layout(targets.stack.home).state
        self._seen = events_seen
        self.injected: Counter[str] = Counter()
        self.faults: list[Fault] = []
        self._injected_pid: dict[str, int] = {}
        self._instances: dict[int, str] = {}
        self._background: list[threading.Thread] = []
        self._network_free = threading.Lock()

    def inject(self, injection: Injection) -> None:
        """Wait for the number of events, and inject the fault.

        Raises:
            TimeoutError: its target does not get ready.
        """
        target, action = injection.target, injection.action
        if target == CONNECTION:
            self._wait_events(injection.events)
            self._inject_connection(injection)
        elif target.startswith(SECOND):
            self._wait_events(injection.events)
            self._inject_second(injection)
        elif target in SERVICES:
            self._inject_service(injection)
        elif target == STORE:
            self._inject_flip(injection)
        else:
            self._wait_events(injection.events)
            began = datetime.now(UTC)
            self._inject_surroundings(injection)
            self._record(target, action, began, datetime.now(UTC))
        self.injected[f"{action} {target}"] += 1

    def restarts(self) -> dict[str, int]:
        """Return how often the supervisor restarted each service."""
        state = read_state(self._state)
        return {} if state is None else {row.name: row.restarts for row in state.services}

    def wait_all(self) -> None:
        """Wait until what runs in the background has ended and every service is ready again.

        Raises:
            TimeoutError: one is not.
        """
        for thread in self._background:
            thread.join()
        for service in SERVICES:
            self._ready(service)

    # one kind of target each

    def _inject_connection(self, injection: Injection) -> None:
        network = self._targets.network
        assert network is not None, "the plan has no faults of what is not there"
        action, pause_s = injection.action, injection.pause_s

        def inject() -> None:
            with self._network_free:
                began = datetime.now(UTC)
                if action == PARTITION:
                    self._record(CONNECTION, action, began, began + timedelta(seconds=pause_s))
                network.inject(action, pause_s)
                if action != PARTITION:
                    self._record(CONNECTION, action, began, datetime.now(UTC))

        if action == PARTITION:
            self._in_background(inject)
        else:
            inject()

    def _inject_second(self, injection: Injection) -> None:
        second = self._targets.second
        assert second is not None, "the plan has no faults of what is not there"
        name = injection.target.removeprefix(SECOND)
        pid, instance = second.process(name)
        now = datetime.now(UTC)
        match injection.action:
            case plan.JUMP:
                second.jump()
                self._record(injection.target, injection.action, now, now)
            case action if action == PAUSE:
                self._pause(injection, pid, instance)
            case _:
                second.kill(name)
                self._record(injection.target, KILL, now, now, instance)

    def _inject_service(self, injection: Injection) -> None:
        pid = self._ready(injection.target)
        instance = self._instance(injection.target, pid)
        self._wait_events(injection.events)
        began = datetime.now(UTC)
        try:
            match injection.action:
                case action if action == PAUSE:
                    self._pause(injection, pid, instance)
                    return
                case action if action == MEMORY:
                    with machine.limit_memory(pid):
                        threading.Event().wait(injection.pause_s)
                case action if action == RESTART:
                    os.kill(pid, signal.SIGTERM)
                case _:
                    os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it exited just before
        self._record(injection.target, injection.action, began, datetime.now(UTC), instance)
        if injection.action != MEMORY:
            self._injected_pid[injection.target] = pid

    def _inject_flip(self, injection: Injection) -> None:
        """Kill nats-server, and flip a bit in a copy of the files it leaves, before it is started again."""
        crashes, state = self._targets.crashes, read_state(self._state)
        assert crashes is not None, "the plan has no faults of what is not there"
        assert state is not None, "the stack does not run"
        pid = self._ready("nats")
        self._wait_events(injection.events)
        began = datetime.now(UTC)
        with machine.stopped(state.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            crashes.take(pid)
        self._record("nats", KILL, began, datetime.now(UTC))
        self._injected_pid["nats"] = pid
        crashes.flip(injection.seed)

    def _inject_surroundings(self, injection: Injection) -> None:
        target, action, pause_s = injection.target, injection.action, injection.pause_s
        if target == LOG:
            asyncio.run(_fill_log(self._stack, pause_s))
        elif target == MACHINE:
            with machine.starve():
                threading.Event().wait(pause_s)
        elif target == DATABASE and self._targets.postgres is not None:
            self._targets.postgres.kill()
            threading.Event().wait(pause_s)
            self._targets.postgres.start()
        elif target.startswith(DISK) and self._targets.disks is not None:
            name = target.removeprefix(DISK)
            if action == plan.FULL:
                with self._targets.disks.filled(name):
                    threading.Event().wait(pause_s)
            else:
                self._set_read_only(name, pause_s)

    def _set_read_only(self, name: str, pause_s: float) -> None:
        """Kill who writes to a disk, so that its successor finds the disk read-only for some seconds."""
        disks = self._targets.disks
        assert disks is not None, "the plan has no faults of what is not there"
        refused = "not tried"
        for _ in range(_REMOUNT_TRIES):  # the successor may have opened its files already
            if name == "database" and self._targets.second is not None:
                self._inject_second(Injection(f"{SECOND}projector", KILL, 0, 0.0))
            writer = "nats" if name == "log" else "projector"
            self._inject_service(Injection(writer, KILL, 0, 0.0))
            deadline = time.monotonic() + 0.1
            while (refused := disks.set_read_only(name, True)) and time.monotonic() < deadline:
                time.sleep(0.002)
            if not refused:
                break
        else:
            raise TimeoutError(f"the disk of the {name} cannot be made read-only: {refused}")
        try:
            threading.Event().wait(pause_s)
        finally:
            disks.set_read_only(name, False)

    # helpers

    def _pause(self, injection: Injection, pid: int, instance: str) -> None:
        """Stop a process; it continues in the background."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
        began = datetime.now(UTC)
        ended = began + timedelta(seconds=injection.pause_s)
        self._record(injection.target, PAUSE, began, ended, instance)

        def proceed() -> None:
            threading.Event().wait(injection.pause_s)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

        if injection.target == "nats":
            proceed()
        else:
            self._in_background(proceed)

    def _in_background(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._background.append(thread)
        thread.start()

    def _record(self, target: str, action: str, began: datetime, ended: datetime, instance: str = "") -> None:
        self.faults.append(Fault(target, action, began, ended, instance))

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

    def _instance(self, service: str, pid: int) -> str:
        """Return the instance of a process, as it logged it when it started; empty: it is none of ours."""
        if pid not in self._instances:
            log = Layout(self._stack.home).logs / f"{service}.log"
            lines = log.read_text(errors="replace").splitlines() if log.exists() else []
            starts = [line for line in lines if '"service_starting"' in line]
            try:
                self._instances[pid] = str(msgspec.json.decode(starts[-1])["instance"]) if starts else ""
            except (*UNDECODABLE, KeyError):
                self._instances[pid] = ""
        return self._instances[pid]


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
