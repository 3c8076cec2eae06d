"""One simulated world: built from a seed, run until everything has settled, and judged."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import random
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress

import msgspec

from syntor.contracts.envelope import decode_envelope
from syntor.contracts.errors import InfrastructureError
from syntor.contracts.events import TERMINAL_RUN_TYPES
from syntor.contracts.rpc.v1 import LIST_AGENTS, REGISTRY, AgentList, ListAgents
from syntor.contracts.task.v1 import ApprovalRequired
from syntor.contracts.topology import EVENTS, PRESENCE, TIMERS
from syntor.eventsourcing.store import Recorded
from syntor.eventsourcing.upcasting import EventReader
from syntor.jetstream.admin import apply_topology
from syntor.jetstream.connection import Connection
from syntor.jetstream.requests import call
from syntor.projector.domain.read_model import ReadModel
from syntor.simulation import invariants
from syntor.simulation.clients import Clients
from syntor.simulation.faults import Injector
from syntor.simulation.machine import Machine, logs_to, simulated_machine
from syntor.simulation.scenario import Scenario, scenario
from syntor.simulation.services import Instance
from syntor.testing.read_model import MemoryReadModelStore
from syntor.testing.simulation.client import connect_simulated
from syntor.testing.simulation.clock import simulated_time
from syntor.testing.simulation.loop import START_S, DeadlineError, SimulatedLoop
from syntor.testing.simulation.network import DelayedNetwork
from syntor.testing.simulation.server import SimulatedServer
from syntor.testing.simulation.stream import SimulatedStream, Stored

LIMIT_S = 900.0  # simulated seconds until a world must have settled: above the wall time of any scenario
_SETTLED_EVERY_S = 0.5
_reader = EventReader()

Write = Callable[[str], None]


class Report(msgspec.Struct):
    """How a seed went."""

    seed: int
    violations: list[str]
    """What is wrong; empty: nothing."""
    events: int
    simulated_s: float
    digest: str
    """Hash of the whole log: the same whenever the seed is run."""


class World:
    """A server, all services in several instances, and their clients."""

    def __init__(self, plan: Scenario, write: Write | None) -> None:
        self.plan = plan
        self.loop = SimulatedLoop()
        self.machine = Machine()
        self.read_model = MemoryReadModelStore(self.machine.database)
        self.read_model.create(ReadModel())
        self.violations: list[str] = []
        self._write = write
        rng = random.Random(f"world {plan.seed}")
        network = DelayedNetwork(
            self.loop, random.Random(f"network {plan.seed}"), typical_s=plan.delay_s, slow_share=plan.slow_share
        )
        self.server = SimulatedServer(network, rng)
        self.server.api.on_stored = self._stored
        self.instances = {
            name: Instance(self.loop, self.server, service, name, rng, self.note) for service, name in plan.instances
        }
        self._rng = rng
        self._open: set[str] = set()
        self._ended_ns: dict[str, int] = {}
        self._clients: Clients | None = None

    def note(self, text: str) -> None:
        """Write a line of the trace."""
        if self._write is not None:
            self._write(f"{self.loop.now:10.4f}  {text}")

    def note_log(self, line: str) -> None:
        """Write a line that a process logged."""
        self.note(f"{self.loop.current.name}: {line}")

    async def run(self) -> None:
        """Run the scenario until everything has settled."""
        connection, client = await connect_simulated(self.server, "syntor/clients")
        await apply_topology(connection, replicas=self.plan.replicas)
        for instance in self.instances.values():
            self.loop.call_in(self.loop.world, self.loop.now + 0.2 * self._rng.random(), instance.start)
        clients = self._clients = Clients(connection, self.plan)
        injector = self.injector = Injector(self.loop, self.server, self.instances, client, self._rng, self.note)
        sending = asyncio.create_task(clients.run())
        await clients.started.wait()
        injector.plan(self.plan.faults)
        await sending
        self.violations += await self._judged(await self._settled(connection, injector.until_s))

    async def _settled(self, connection: Connection, after_s: float) -> AgentList:
        """Wait until nothing happens any more, and return what the registry lists then."""
        while True:
            last = self.server.api.streams[EVENTS].last
            if not self._open and self.loop.now >= after_s and not self.unsettled():
                with suppress(InfrastructureError):
                    listed = await call(connection, REGISTRY, LIST_AGENTS, ListAgents(), AgentList)
                    if not self.unsettled() and self.server.api.streams[EVENTS].last == last:
                        return listed
            await asyncio.sleep(_SETTLED_EVERY_S)

    def _stored(self, stream: SimulatedStream, stored: Stored) -> None:
        if self._write is not None and stream.name != PRESENCE:
            self.note(f"{stream.name.removeprefix('SYNTOR_').lower()} {stored.seq} {_shown(stored)}")
        if stream.name != EVENTS:
            return
        tokens = stored.subject.split(".", 4)
        last = stored.subject.rpartition(".")[2]
        if last == "user_input":
            self._open.add(tokens[3])
        elif last in TERMINAL_RUN_TYPES:
            self._open.discard(tokens[3])
            self._ended_ns[tokens[3]] = stored.timestamp_ns
        elif last == "approval_required" and self._clients is not None:
            recorded = _recorded(stored)
            assert isinstance(recorded.event, ApprovalRequired)
            with self.loop.acting_as(self.loop.world):
                self._clients.decide(recorded)

    def unsettled(self) -> list[str]:
        """Return what has not come to its end."""
        api = self.server.api
        found = [f"run {run_id} has not ended" for run_id in sorted(self._open)]
        for (stream, name), consumer in sorted(api.consumers.items()):
            if consumer.config.get("durable_name") and name != "agents-external":
                if consumer.pending:
                    found.append(f"{name} of {stream}: positions {sorted(consumer.pending)} are not acknowledged")
                if consumer.undelivered():
                    found.append(f"{name} of {stream}: {consumer.undelivered()} messages are not delivered")
        for stored in api.streams[TIMERS].after("syntor.timers.schedule.>", 0):
            run_id = stored.subject.split(".")[3]
            if stored.timestamp_ns <= self._ended_ns.get(run_id, stored.timestamp_ns):  # not set by one who came late
                found.append(f"{stored.subject} has neither fired nor been cancelled")
        position, last = self.read_model.position, api.streams[EVENTS].last
        if position < last:
            found.append(f"the read model is at {position} of {last}")
        return found

    async def _judged(self, listed: AgentList) -> list[str]:
        evidence = invariants.Evidence(
            events=self.events(),
            accepted=self._clients.accepted if self._clients is not None else {},
            effects=self.machine.effects,
            model_calls=self.machine.model_calls,
            interruptions=self.injector.interruptions,
            rows=(await self.read_model.snapshot())[1],
            times={each.seq: each.timestamp_ns / 1e9 - START_S for each in self._log()},
            agents=listed,
        )
        return invariants.violations(evidence)

    def events(self) -> list[Recorded]:
        """Return the log."""
        return [_recorded(stored) for stored in self._log()]

    def _log(self) -> list[Stored]:
        stream = self.server.api.streams.get(EVENTS)
        return [] if stream is None else list(stream.messages.values())

    def finish(self) -> Report:
        """Judge what needs no settled world, end all processes and return the report."""
        log = self._log()
        digest = hashlib.sha256()
        for stored in log:
            digest.update(f"{stored.timestamp_ns} {stored.subject} ".encode() + stored.payload)
        found = [*self.violations, *self.loop.problems]
        for instance in self.instances.values():
            found += instance.failures
        dead = self.server.api.streams.get("SYNTOR_DLQ")
        for stored in dead.messages.values() if dead is not None else ():
            found.append(f"dead letter: {stored.headers.get('Syntor-Subject')}: {stored.headers.get('Syntor-Cause')}")
        return Report(
            seed=self.plan.seed,
            violations=found,
            events=len(log),
            simulated_s=self.loop.now,
            digest=digest.hexdigest()[:16],
        )

    def close(self) -> None:
        """End all processes."""
        self.loop.end(process for each in self.instances.values() for process in (each.process, *each.ended))
        self.machine.database.close()


Defect = Callable[["World"], AbstractContextManager[object]]
"""Breaks a world before it runs."""


def run_seed(seed: int, write: Write | None = None, defect: Defect | None = None) -> Report:
    """Run one seed and return its report.

    Args:
        write: takes the lines of the trace; None: there is none.
        defect: breaks the world on purpose.
    """
    return run_scenario(scenario(seed), write, defect)


def run_scenario(plan: Scenario, write: Write | None = None, defect: Defect | None = None) -> Report:
    """Run one scenario and return its report; see `run_seed`."""
    collecting = gc.isenabled()
    gc.disable()  # nothing is finalised half way; the world is dropped as a whole
    world = World(plan, write)
    try:
        broken = nullcontext() if defect is None else defect(world)
        log = world.note_log if write is not None else None
        with simulated_time(world.loop, plan.seed), simulated_machine(world.machine), logs_to(log), broken:
            try:
                world.loop.run(world.run(), limit_s=LIMIT_S)
            except DeadlineError as exc:
                world.violations.append(f"{exc}: {'; '.join(world.unsettled())}")
            report = world.finish()
            world.close()
        return report
    finally:
        del world
        gc.collect()
        if collecting:
            gc.enable()


def _recorded(stored: Stored) -> Recorded:
    envelope = decode_envelope(stored.payload)
    return Recorded(stored.seq, stored.subject, envelope, _reader.read(envelope))


def _shown(stored: Stored) -> str:
    text = stored.payload[:0].decode()
    try:
        envelope = decode_envelope(stored.payload)
        text = bytes(envelope.data).decode()[:160]
    except Exception:  # noqa: BLE001 - a trace shows what it can
        text = repr(stored.payload[:80])
    return f"{stored.subject} {text}"
