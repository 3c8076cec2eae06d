"""One soak test: a workload on its own stack, faults from a seed, and the invariants of the log at the end."""

from __future__ import annotations

import asyncio
import re
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import msgspec
import yaml

from syntor.contracts.errors import InfrastructureError
from syntor.contracts.events import TERMINAL_RUN_TYPES
from syntor.contracts.subjects import ALL_EVENTS
from syntor.eventsourcing.store import Recorded
from syntor.faults.effects import Effects
from syntor.faults.injections import Injector, plan
from syntor.faults.invariants import takeovers, violations
from syntor.faults.proxy import Proxy
from syntor.faults.second_instances import SecondInstances
from syntor.faults.workload import Workload, script
from syntor.jetstream.access import Access
from syntor.jetstream.connection import Message, connect
from syntor.jetstream.store import JetStreamStore
from syntor.testing.local_stack import LocalStack
from syntor.testing.nats_server import free_port

END_S = 180.0  # for runs in progress at the last fault
MAX_RUNS, MIN_RUNS = 3000, 200
RUNS_PER_POINT, RUNS_PER_PLAIN_POINT = 6, 50  # each process reads a script with a rule for each of the runs
CALM_S = 4.0  # between faults one at a time: interrupted work has resumed by then
MAX_TASKS = 64  # concurrent tasks of an agent: more than there are, so that no interrupted task waits for a free slot


class Report(msgspec.Struct):
    """Result of a soak test."""

    seed: int
    points: int
    plain: bool
    injected: dict[str, int]
    """Faults by action and target."""
    runs: int
    """Runs accepted."""
    events: int
    effects: int
    violations: list[str]
    takeover_s: list[tuple[float, str]]
    """Takeover time of each interruption by a kill, in seconds, and the service killed; sorted."""
    duration_s: float

    @property
    def command(self) -> str:
        """Command that repeats the test."""
        return f"python -m syntor.faults --seed {self.seed} --points {self.points}" + (" --plain" if self.plain else "")

    def text(self) -> str:
        """Return the report for people."""
        injected = ", ".join(f"{count} {what}" for what, count in sorted(self.injected.items()))
        lines = [
            f"seed {self.seed}: {self.points} faults in {self.duration_s:.0f} s ({injected})",
            f"{self.runs} runs accepted, {self.events} events, {self.effects} external effects",
        ]
        for service in ("", *sorted({name for _, name in self.takeover_s})):
            took = [seconds for seconds, name in self.takeover_s if service in ("", name)]
            if took:
                half, high = took[len(took) // 2], took[int(len(took) * 0.99)]
                what = f"takeover after a kill{f' of {service}' if service else ''}"
                lines.append(f"{what}: p50 {half:.2f} s, p99 {high:.2f} s, n = {len(took)}")
        lines.append(f"invariants: {len(self.violations)} violations" + ("" if self.violations else ", all hold"))
        kinds = Counter(re.sub(r"[0-9a-z]{20,}|\d+", "*", each)[:60] for each in self.violations)
        lines += [f"  {count} times: {kind}" for kind, count in kinds.most_common(10)]
        lines += [f"  {each}" for each in self.violations[:20]]
        if self.violations:
            lines.append(f"repeat: {self.command}")
        return "\n".join(lines)


class EventCounter:
    """Counts the events appended to the log, in its own thread; resumes when NATS is available again."""

    def __init__(self, nats_url: str, access: Access) -> None:
        self.count = 0
        self.ended = 0
        """Terminal events of runs; those appended while the connection is down are missed."""
        self._url, self._access = nats_url, access
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop counting."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        connection = await connect(self._url, "syntor/faults", access=self._access)
        await connection.subscribe_direct(ALL_EVENTS, self._on_event)
        await self._stop.wait()
        await connection.close()

    def _on_event(self, message: Message) -> None:
        self.count += 1
        if message.subject.rpartition(".")[2] in TERMINAL_RUN_TYPES:
            self.ended += 1


def run(home: Path, seed: int, points: int, *, plain: bool = False) -> Report:
    """Run a soak test.

    Args:
        home: an empty folder for stack and workspace.
        plain: no second instances, and only process faults, one at a time.
    """
    effects = Effects()
    workspace = home / "work"
    workspace.mkdir(parents=True)
    max_runs = min(MAX_RUNS, MIN_RUNS + points * (RUNS_PER_PLAIN_POINT if plain else RUNS_PER_POINT))
    text = yaml.safe_dump(script(effects.url, max_runs), sort_keys=False)
    began = time.monotonic()
    stack = LocalStack(home / "stack", script=text, environ=_environment())
    second: SecondInstances | None = None
    try:
        stack.up()
        counter = EventCounter(stack.nats_url, stack.admin)
        workload = Workload(stack.url, workspace, seed, max_runs, lambda: counter.ended)
        proxy = None if plain else Proxy("127.0.0.1", int(stack.nats_url.rpartition(":")[2]))
        second = None if proxy is None else SecondInstances(stack, f"nats://127.0.0.1:{proxy.port}")
        injector = Injector(stack, lambda: counter.count, second, proxy)
        workload.start()
        _inject(injector, seed, points, plain=plain)
        workload.stop()
        injector.wait_all()
        events = asyncio.run(_until_ended(stack, {run.run_id for run in workload.accepted}))
        failed_stops = second.stop() if second is not None else []
        if proxy is not None:
            proxy.close()
        found = [*workload.faults, *violations(events, workload.accepted, effects.counted, injector.disruptions)]
        found += failed_stops
        found += _verified(stack)
        counter.close()
    finally:
        if second is not None:
            second.stop()
        refused = _down(stack)
        effects.close()
    found += refused
    return Report(
        seed=seed,
        points=points,
        plain=plain,
        injected=dict(injector.injected),
        runs=len(workload.accepted),
        events=len(events),
        effects=sum(effects.counted.values()),
        violations=found,
        takeover_s=takeovers(events, injector.kills),
        duration_s=time.monotonic() - began,
    )


def _down(stack: LocalStack) -> list[str]:
    """Stop the stack; return what NATS refused its services."""
    try:
        stack.down()
    except RuntimeError as exc:
        return [str(exc)]
    return []


def _inject(injector: Injector, seed: int, points: int, *, plain: bool) -> None:
    """Inject the faults of a seed, each after the recovery from the one before when `plain`."""
    for injection in plan(seed, points, plain=plain):
        if plain:
            injector.wait_all()
            time.sleep(CALM_S)
        injector.inject(injection)


def _environment() -> dict[str, str]:
    ports = {name: str(free_port()) for name in ("SYNTOR_HTTP_PORT", "SYNTOR_NATS_PORT")}
    return ports | {"SYNTOR_MAX_CONCURRENT_TASKS": str(MAX_TASKS)}


async def _until_ended(stack: LocalStack, run_ids: set[str]) -> list[Recorded]:
    """Return the whole log once every run has ended, or at the deadline."""
    connection = await connect(stack.nats_url, "syntor/faults", access=stack.admin)
    store, events = JetStreamStore(connection), list[Recorded]()
    open_runs, deadline = set(run_ids), time.monotonic() + END_S
    try:
        while True:
            try:
                async for recorded in store.load(ALL_EVENTS, events[-1].position if events else 0):
                    events.append(recorded)
                    if recorded.envelope.type in TERMINAL_RUN_TYPES:
                        open_runs.discard(recorded.envelope.runid)
            except InfrastructureError:
                pass  # read again from the last position
            if not open_runs or time.monotonic() > deadline:
                return events
            await asyncio.sleep(1.0)
    finally:
        await connection.close()


def _verified(stack: LocalStack) -> list[str]:
    """Return a line when `syntor replay --verify` finds a mismatch in read models or decisions."""
    try:
        done = stack.syntor("replay", "--verify", timeout_s=300.0)
    except subprocess.TimeoutExpired:
        return ["replay --verify: not finished within 300 s"]
    output = f"{done.stdout[-800:]}{done.stderr[-400:]}"
    return [f"replay --verify exited with {done.returncode}: {output}"] if done.returncode else []
