"""One campaign: a workload on its own stack, faults from a seed, and the invariants of the log at the end."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
import time
from collections.abc import Collection, Generator
from pathlib import Path

import msgspec
import yaml

from syntor.contracts.errors import InfrastructureError
from syntor.contracts.events import TERMINAL_RUN_TYPES
from syntor.contracts.subjects import ALL_EVENTS
from syntor.eventsourcing.store import Recorded
from syntor.faults import machine, plan, second_instances
from syntor.faults.crashed_copies import CrashedCopies
from syntor.faults.effects import Effects
from syntor.faults.ending import EndedError
from syntor.faults.event_counter import EventCounter
from syntor.faults.injections import Injector, Targets
from syntor.faults.invariants import unexpected_restarts, violations
from syntor.faults.postgres import Postgres
from syntor.faults.proxy import Proxy
from syntor.faults.repeats import repeats
from syntor.faults.report import Report
from syntor.faults.second_instances import SecondInstances
from syntor.faults.streams import Streams
from syntor.faults.takeover import takeovers
from syntor.faults.workload import Workload, script
from syntor.jetstream.connection import connect
from syntor.jetstream.store import JetStreamStore
from syntor.testing.local_stack import LocalStack
from syntor.testing.nats_server import free_port

END_S = 180.0  # for runs in progress at the last fault
MAX_RUNS = 100_000  # never reached: the workload ends with the faults
CALM_S = 4.0  # between faults one at a time: interrupted work has resumed by then
PLACES = 10  # tasks an agent works on at a time by default (AgentSettings.max_concurrent_tasks)
SQLITE, POSTGRESQL = DATABASES = ("sqlite", "postgresql")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What a campaign does."""

    seed: int
    points: int
    """Number of faults."""
    kinds: tuple[str, ...] = plan.KINDS
    """Kinds of faults, of `plan.KINDS`."""
    database: str = SQLITE
    """Database of the read model, of `DATABASES`."""
    calm: bool = False
    """Faults one at a time: each after the recovery from the one before."""
    second: bool = True
    """Whether there are second instances, connected through a proxy."""
    clients: int = 4
    """Clients of the workload."""

    @property
    def command(self) -> str:
        """Command that repeats the campaign."""
        more = f" --only {','.join(self.kinds)}" if set(self.kinds) != set(plan.KINDS) else ""
        more += " --calm" if self.calm else ""
        more += "" if self.second else " --alone"
        return f"python -m syntor.faults --seed {self.seed} --points {self.points} --database {self.database}{more}"

    def allowed(self) -> tuple[tuple[str, ...], dict[str, str]]:
        """Return the kinds this machine and these options allow, and the reasons against the others."""
        reasons = {
            plan.LIMIT: machine.memory_limits_unavailable(),
            plan.DISKS: machine.disks_unavailable(),
            plan.CLOCK: "" if second_instances.find_faketime() else "libfaketime is not installed (SYNTOR_FAKETIME)",
            plan.BIT: "" if Path("/proc/self/stat").exists() else "needs Linux",
            plan.POSTGRES: "the read model is in SQLite" if self.database == SQLITE else "",
        }
        if not self.second:
            reasons |= dict.fromkeys((plan.NETWORK, plan.SECONDS, plan.CLOCK), "there are no second instances")
        skipped = {kind: why for kind, why in reasons.items() if why and kind in self.kinds}
        return tuple(kind for kind in self.kinds if kind not in skipped), skipped


def run(home: Path, options: Options) -> Report:
    """Run a campaign and report on it, also when it is ended by `EndedError` or one of its own steps fails.

    Args:
        home: an empty folder for stack and workspace.
    """
    report = Report(seed=options.seed, points=options.points, command=options.command)
    kinds, report.skipped = options.allowed()
    began = time.monotonic()
    try:
        with Campaign.open(home, options, kinds) as campaign:
            campaign.carry_out(report, kinds)
    except EndedError as exc:
        report.ended_by = str(exc)
    except (TimeoutError, RuntimeError, OSError, InfrastructureError) as exc:
        report.violations.append(f"the campaign could not continue: {type(exc).__name__}: {exc}")
    report.duration_s = time.monotonic() - began
    return report


class Campaign:
    """A stack with its workload and everything faults are injected into."""

    def __init__(self, targets: Targets, options: Options, workspace: Path, effects: Effects) -> None:
        stack = targets.stack
        self.targets = targets
        self._options = options
        self._record = workspace.parent / "faults.jsonl"
        self._effects = effects
        self._counter = EventCounter(stack.nats_url, stack.admin)
        self._streams = Streams(stack.url)
        self.workload = Workload(
            stack.url,
            workspace,
            options.seed,
            MAX_RUNS,
            lambda: self._counter.ended,
            clients=options.clients,
            on_accepted=self._streams.follow,
        )
        self.injector = Injector(targets, lambda: self._counter.count)

    @classmethod
    @contextlib.contextmanager
    def open(cls, home: Path, options: Options, kinds: Collection[str]) -> Generator[Campaign]:
        """Start everything; take it down at the end, whatever happened.

        Raises:
            RuntimeError: the stack did not start, or NATS refused something to one of its services.
        """
        workspace = home / "work"
        workspace.mkdir(parents=True)
        with contextlib.ExitStack() as exits:
            effects = Effects()
            exits.callback(effects.close)
            folder, environ = home / "stack", _environment()
            disks = postgres = None
            if plan.DISKS in kinds:
                data = folder / "data"
                disks = machine.Disks({"home": folder, "database": data, "log": data / "nats"})
                exits.callback(disks.close)
                exits.callback(_keep_logs, folder, home / "logs")
            if options.database == POSTGRESQL:
                postgres = Postgres(home / "postgres")
                exits.callback(postgres.close)
                environ["SYNTOR_DATABASE_URL"] = postgres.url
            rules = yaml.safe_dump(script(effects.url), sort_keys=False)
            stack = LocalStack(folder, script=rules, environ=environ)
            exits.callback(stack.down)
            stack.up()
            crashes = CrashedCopies(folder, environ.get("SYNTOR_DATABASE_URL", ""), home / "crashed")
            targets = Targets(stack, disks=disks, postgres=postgres, crashes=crashes)
            if options.second:
                targets.network = Proxy("127.0.0.1", int(stack.nats_url.rpartition(":")[2]))
                exits.callback(targets.network.close)
                targets.second = SecondInstances(stack, f"nats://127.0.0.1:{targets.network.port}")
                exits.callback(targets.second.stop)
            campaign = cls(targets, options, workspace, effects)
            exits.callback(campaign.close)
            yield campaign

    @property
    def ended(self) -> int:
        """Runs that ended so far."""
        return self._counter.ended

    def close(self) -> None:
        """Stop counting events."""
        self._counter.close()

    def carry_out(self, report: Report, kinds: Collection[str]) -> None:
        """Inject the faults, wait for the runs in progress, and judge the log; `report` is filled as far as it gets.

        Raises:
            TimeoutError: a service did not get ready again.
        """
        self.workload.start()
        try:
            self._inject(kinds)
        finally:
            report.injected = dict(self.injector.injected)
            if self.targets.crashes is not None:
                report.flips = dict(self.targets.crashes.verdicts)
                report.violations += self.targets.crashes.missed
            report.runs = len(self.workload.accepted)
        self.finish(report)

    def finish(self, report: Report) -> None:
        """Stop the workload, wait for the runs in progress, and judge the log.

        Raises:
            TimeoutError: a service did not get ready again.
        """
        self.workload.stop()
        self.injector.wait_all()
        self._record.write_bytes(b"\n".join(map(msgspec.json.encode, self.injector.faults)))
        report.runs = len(self.workload.accepted)
        events = asyncio.run(_until_ended(self.targets.stack, {run.run_id for run in self.workload.accepted}))
        self._judge(report, events)

    def _judge(self, report: Report, events: list[Recorded]) -> None:
        faults, second = self.injector.faults, self.targets.second
        again = repeats(events, faults)
        report.events, report.effects = len(events), sum(self._effects.counted.values())
        report.streams = self._streams.followed
        report.takeovers, report.repeats = takeovers(events, faults, PLACES), dict(again.causes)
        found = [*self.workload.faults, *violations(events, self.workload.accepted, self._effects.counted)]
        found += [*again.violations, *self._streams.silent(events)]
        found += unexpected_restarts(self.injector.restarts(), faults)
        if second is not None:
            found += [*second.exits, *second.stop()]
        report.violations += found
        report.violations += _verified(self.targets.stack)

    def _inject(self, kinds: Collection[str]) -> None:
        """Inject the faults of the seed; a calm campaign waits for the recovery from each."""
        for injection in plan.plan(self._options.seed, self._options.points, kinds):
            if self._options.calm:
                self.injector.wait_all()
                time.sleep(CALM_S)
            self.injector.inject(injection)


def _keep_logs(folder: Path, to: Path) -> None:
    """Copy the logs of a stack whose disks are about to be unmounted."""
    with contextlib.suppress(OSError):
        shutil.copytree(folder / "logs", to)


def _environment() -> dict[str, str]:
    return {name: str(free_port()) for name in ("SYNTOR_HTTP_PORT", "SYNTOR_NATS_PORT")}


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
