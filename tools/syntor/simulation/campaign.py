"""Runs many seeds in several processes, one after the other in each, and reports those that fail."""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator

import msgspec

from syntor.simulation.mutants import MUTANTS
from syntor.simulation.world import Report, run_seed

_CHUNK = 4  # seeds a process runs before it reports
_HASH_SEED = "PYTHONHASHSEED"  # the order of sets of text must not differ between two runs of a seed
_SHOWN = 3  # violations of a seed that are printed


class Summary(msgspec.Struct):
    """What a campaign found."""

    seeds: int = 0
    failed: list[Report] = []
    events: int = 0
    simulated_s: float = 0.0
    duration_s: float = 0.0

    def text(self) -> str:
        """Return one line for people."""
        return (
            f"{self.seeds} seeds in {self.duration_s:.0f} s ({self.seeds / max(0.001, self.duration_s):.1f} a second), "
            f"{self.events} events, {self.simulated_s / 3600:.1f} simulated hours: {len(self.failed)} failed"
        )


def run(
    first: int,
    seeds: int,
    *,
    jobs: int,
    mutant: str = "",
    stop_at: int = 10,
    on_failed: Callable[[Report], None] = lambda report: None,
) -> Summary:
    """Run seeds and return what was found.

    Args:
        jobs: processes.
        mutant: name of a deliberate defect; empty: none.
        stop_at: failed seeds after which no more are run.
        on_failed: called with the report of each failed seed, as soon as it is known.
    """
    summary = Summary()
    began = time.monotonic()
    for report in _reports(first, seeds, jobs, mutant):
        summary.seeds += 1
        summary.events += report.events
        summary.simulated_s += report.simulated_s
        if report.violations:
            summary.failed.append(report)
            on_failed(report)
            if len(summary.failed) >= stop_at:
                break
    summary.duration_s = time.monotonic() - began
    return summary


def _reports(first: int, seeds: int, jobs: int, mutant: str) -> Iterator[Report]:
    """Yield the reports of seeds, in order."""
    chunks = [(start, min(_CHUNK, first + seeds - start), mutant) for start in range(first, first + seeds, _CHUNK)]
    before = os.environ.get(_HASH_SEED)
    os.environ[_HASH_SEED] = "0"  # of the processes that are started now
    try:
        pool = multiprocessing.get_context("spawn").Pool(jobs, initializer=_prepare)
    finally:
        if before is None:
            del os.environ[_HASH_SEED]
        else:
            os.environ[_HASH_SEED] = before
    with pool:
        for encoded in pool.imap(_chunk, chunks):
            yield from msgspec.json.decode(encoded, type=list[Report])


def _prepare() -> None:
    """Leave what was imported out of every collection: each seed ends with one."""
    gc.freeze()


def _chunk(work: tuple[int, int, str]) -> bytes:
    first, count, mutant = work
    return msgspec.json.encode([run_seed(seed, defect=MUTANTS.get(mutant)) for seed in range(first, first + count)])


def main(argv: list[str]) -> int:
    """Run the command; return its exit code: 1 when a seed failed."""
    parser = argparse.ArgumentParser(prog="python -m syntor.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many (default: 1000)")
    parser.add_argument("--first", type=int, default=1, help="the first of them (default: 1)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")
    parser.add_argument("--seed", type=int, help="run only this one, in this process")
    parser.add_argument("--trace", action="store_true", help="with --seed: print everything that happens")
    parser.add_argument("--mutant", choices=sorted(MUTANTS), default="", help="break something on purpose")
    options = parser.parse_args(argv)
    if options.seed is not None:
        if os.environ.get(_HASH_SEED) != "0":
            command = [sys.executable, "-m", "syntor.simulation", *argv]
            os.execve(sys.executable, command, {**os.environ, _HASH_SEED: "0"})
        report = run_seed(options.seed, print if options.trace else None, MUTANTS.get(options.mutant))
        _print(report, options.mutant)
        return bool(report.violations)
    stop_at = 1 if options.mutant else 10
    summary = run(
        options.first,
        options.seeds,
        jobs=options.jobs,
        mutant=options.mutant,
        stop_at=stop_at,
        on_failed=lambda report: _print(report, options.mutant),
    )
    print(summary.text())
    return bool(summary.failed)


def _print(report: Report, mutant: str) -> None:
    if not report.violations:
        print(f"seed {report.seed}: {report.events} events in {report.simulated_s:.1f} s, log {report.digest}: fine")
        return
    for violation in report.violations[:_SHOWN]:
        print(f"seed {report.seed}: {violation[:600]}")
    if len(report.violations) > _SHOWN:
        print(f"seed {report.seed}: and {len(report.violations) - _SHOWN} more")
    more = f" --mutant {mutant}" if mutant else ""
    print(f"  again: python -m syntor.simulation --seed {report.seed} --trace{more}", flush=True)
