"""`python -m syntor.faults.soak [--minutes 60]`: load at a share of the capacity, with a fault every few seconds.

Shows that nothing is lost or done twice, and that memory and open files of each process stay flat. In the second half
the processes of the stack are paused and cut off but not ended, so that each is measured for half of the time; their
second instances are killed on.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from syntor.contracts.errors import InfrastructureError
from syntor.faults import plan, second_instances
from syntor.faults.campaign import Campaign, Options
from syntor.faults.ending import EndedError, end_by_signal
from syntor.faults.fault import DEATHS, PAUSE, SECOND
from syntor.faults.plan import SERVICES, Injection
from syntor.faults.report import Report
from syntor.faults.resources import MIN_SAMPLES, WARM_UP_S, Resources, Slope
from syntor.stack.layout import Layout
from syntor.stack.state import read_state

KINDS = (plan.PROCESS, plan.NETWORK, plan.SECONDS, plan.FULL_LOG, plan.CPU)
CAPACITY_S = 30.0  # for which the capacity is measured
CLIENTS = 12
SAMPLE_EVERY_S = 5.0
JUDGED_AFTER_S = 600.0  # a shorter measurement says nothing about growth
RSS_LIMIT_BYTES_PER_HOUR = 48 << 20  # of the slope; beyond it a process of 100 MB has twice the size within hours
FILES_LIMIT_PER_HOUR = 20.0
INDEX_BYTES = 420  # that nats-server keeps in memory for an event, most of which have a subject of their own
_SETTLED_S = 5.0  # at the start, before the capacity is measured


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a soak does."""

    seed: int
    minutes: float
    share: float
    """Share of the measured capacity that is the load."""
    every_s: float
    """Seconds between faults."""


class SoakReport(msgspec.Struct, kw_only=True):
    """Result of a soak."""

    settings: Settings
    campaign: Report
    capacity: float = 0.0
    """Runs per second when as many are open as may be."""
    rate: float = 0.0
    """Runs per second accepted under load."""
    slopes: list[Slope] = []

    @property
    def violations(self) -> list[str]:
        """All violations, those of the campaign included."""
        return [*self.campaign.violations, *self.growth]

    @property
    def growth(self) -> list[str]:
        """A line for each process that grows; nats-server may grow by its index of the events of the log."""
        index = INDEX_BYTES * self.campaign.events * 3600 / self.campaign.duration_s if self.campaign.duration_s else 0
        return [line for slope in self.slopes if (line := _growth(slope, index if slope.process == "nats" else 0.0))]

    def text(self) -> str:
        """Return the report for people."""
        settings = self.settings
        lines = [
            f"{settings.minutes:g} minutes at {settings.share:.0%} of {self.capacity:.1f} runs/s, "
            f"a fault every {settings.every_s:g} s: {self.rate:.1f} runs/s accepted",
            self.campaign.text(),
            f"{'process':<32}{'measured':>10}{'samples':>9}{'RSS':>10}{'RSS per hour':>15}{'files':>7}{'per hour':>10}",
        ]
        for slope in self.slopes:
            lines.append(
                f"{slope.process:<32}{slope.lasted_s:>8.0f} s{slope.samples:>9}{slope.rss_bytes / 2**20:>7.1f} MB"
                f"{slope.rss_per_hour / 2**20:>+12.1f} MB{slope.files:>7}{slope.files_per_hour:>+10.1f}"
            )
        lines += [f"  {line}" for line in self.growth]
        lines.append(f"soak: {len(self.violations)} violations")
        return "\n".join(lines)


def run(home: Path, settings: Settings) -> SoakReport:
    """Run a soak and report on it, also when it is ended early.

    Args:
        home: an empty folder for stack and workspace.
    """
    length_s = settings.minutes * 60
    points = max(1, int(length_s / settings.every_s))
    options = Options(seed=settings.seed, points=points, kinds=KINDS, clients=CLIENTS)
    kinds, skipped = options.allowed()
    command = (
        f"python -m syntor.faults.soak --seed {settings.seed} --minutes {settings.minutes:g} "
        f"--share {settings.share:g} --every {settings.every_s:g}"
    )
    found = Report(seed=settings.seed, points=points, command=command, skipped=skipped)
    report = SoakReport(settings=settings, campaign=found)
    began = time.monotonic()
    try:
        with Campaign.open(home, options, kinds) as campaign:
            _carry_out(campaign, report, faults(settings.seed, points, kinds))
    except EndedError as exc:
        found.ended_by = str(exc)
    except (TimeoutError, RuntimeError, OSError, InfrastructureError) as exc:
        found.violations.append(f"the soak could not continue: {type(exc).__name__}: {exc}")
    found.duration_s = time.monotonic() - began
    return report


def faults(seed: int, points: int, kinds: tuple[str, ...]) -> Iterator[Injection]:
    """Yield the faults of a seed; those of the second half end no process of the stack itself."""
    for number, injection in enumerate(plan.plan(seed, points, kinds)):
        ends = injection.action in DEATHS and injection.target in SERVICES
        if number < points / 2 or not ends:
            yield injection
        elif injection.target == "nats":
            yield msgspec.structs.replace(injection, action=PAUSE)
        else:
            name = injection.target.replace("agent-", "agents.")
            known = name in second_instances.SERVICES
            yield msgspec.structs.replace(
                injection, target=SECOND + name if known else injection.target, action="kill" if known else PAUSE
            )


def _carry_out(campaign: Campaign, report: SoakReport, injections: Iterator[Injection]) -> None:
    settings, workload = report.settings, campaign.workload
    workload.rate = 0.0
    workload.start()
    waiting = threading.Event()
    waiting.wait(_SETTLED_S)
    report.capacity = _measure(campaign, min(CAPACITY_S, settings.minutes * 6))
    workload.rate = max(0.1, report.capacity * settings.share)
    resources, stop = Resources(), threading.Event()
    began, accepted = time.monotonic(), len(workload.accepted)
    sampling = threading.Thread(target=_sample, args=(campaign, resources, stop), daemon=True)
    sampling.start()
    try:
        for number, injection in enumerate(injections):
            waiting.wait(max(0.0, began + number * settings.every_s - time.monotonic()))
            campaign.injector.inject(injection)
            report.campaign.injected = dict(campaign.injector.injected)
            report.campaign.runs = len(workload.accepted)
        waiting.wait(max(0.0, began + settings.minutes * 60 - time.monotonic()))
        report.rate = (len(workload.accepted) - accepted) / (time.monotonic() - began)
    finally:
        stop.set()
        sampling.join()
        report.slopes = resources.slopes(min(WARM_UP_S, settings.minutes * 6))
    campaign.finish(report.campaign)


def _measure(campaign: Campaign, seconds: float) -> float:
    """Return the runs that end per second while as many are open as may be."""
    before, began = campaign.ended, time.monotonic()
    threading.Event().wait(seconds)
    return (campaign.ended - before) / (time.monotonic() - began)


def _sample(campaign: Campaign, resources: Resources, stop: threading.Event) -> None:
    began = time.monotonic()
    state_file, second = Layout(campaign.targets.stack.home).state, campaign.targets.second
    while not stop.wait(SAMPLE_EVERY_S):
        state = read_state(state_file)
        processes = [("supervisor", state.pid), *((row.name, row.pid) for row in state.services)] if state else []
        if second is not None:
            processes += [(SECOND + name, second.process(name)[0]) for name in second_instances.SERVICES]
        resources.sample(time.monotonic() - began, processes)


def _growth(slope: Slope, index: float) -> str:
    """Return how a process grows; empty: it does not, or was not measured for long enough to tell.

    Args:
        index: bytes an hour that it has to keep.
    """
    if slope.lasted_s < JUDGED_AFTER_S or slope.samples < MIN_SAMPLES:
        return ""
    if slope.rss_per_hour > RSS_LIMIT_BYTES_PER_HOUR + index:
        return f"the memory of {slope.process} grows by {slope.rss_per_hour / 2**20:.0f} MB per hour"
    if slope.files_per_hour > FILES_LIMIT_PER_HOUR:
        return f"the open files of {slope.process} grow by {slope.files_per_hour:.0f} per hour"
    return ""


def main(arguments: list[str]) -> int:
    """Run one soak and print its report."""
    parser = argparse.ArgumentParser(prog="python -m syntor.faults.soak", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="seed of the faults")
    parser.add_argument("--minutes", type=float, default=60.0, help="length of the load")
    parser.add_argument("--share", type=float, default=0.7, help="load as a share of the measured capacity")
    parser.add_argument("--every", type=float, default=10.0, help="seconds between faults")
    parser.add_argument("--keep", type=Path, default=None, help="keep the stack's data and logs in this folder")
    options = parser.parse_args(arguments)
    end_by_signal()
    settings = Settings(seed=options.seed, minutes=options.minutes, share=options.share, every_s=options.every)
    with tempfile.TemporaryDirectory(prefix="syntor-soak-", ignore_cleanup_errors=True) as folder:
        report = run(options.keep or Path(folder), settings)
    print(report.text())
    return 1 if report.violations else 130 if report.campaign.ended_by else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
