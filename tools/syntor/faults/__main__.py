"""`python -m syntor.faults [--seed N] [--points N]`: a campaign of injected faults; exit code 1 on a violation."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from syntor.faults import plan
from syntor.faults.campaign import DATABASES, Options, run
from syntor.faults.ending import end_by_signal
from syntor.faults.postgres import postgres_unavailable


def main(arguments: list[str]) -> int:
    """Run one campaign and print its report."""
    parser = argparse.ArgumentParser(prog="python -m syntor.faults", description=__doc__)
    parser.add_argument(
        "--seed",
        type=int,
        default=random.randrange(1_000_000),
        help="seed of the faults; the same seed injects the same faults",
    )
    parser.add_argument("--points", type=int, default=500, help="number of faults")
    parser.add_argument("--keep", type=Path, default=None, help="keep the stack's data and logs in this folder")
    parser.add_argument(
        "--only", type=_kinds, default=plan.KINDS, help=f"kinds of faults, separated by commas: {', '.join(plan.KINDS)}"
    )
    parser.add_argument(
        "--database",
        choices=("auto", *DATABASES),
        default="auto",
        help="database of the read model; auto: PostgreSQL for odd seeds, where it is installed",
    )
    parser.add_argument("--calm", action="store_true", help="one fault at a time, each after the recovery")
    parser.add_argument("--alone", action="store_true", help="no second instances")
    options = parser.parse_args(arguments)
    end_by_signal()
    database = options.database
    if database == "auto":
        database = DATABASES[options.seed % 2 if not postgres_unavailable() else 0]
    with tempfile.TemporaryDirectory(prefix="syntor-faults-", ignore_cleanup_errors=True) as folder:
        report = run(
            options.keep or Path(folder),
            Options(
                seed=options.seed,
                points=options.points,
                kinds=options.only,
                database=database,
                calm=options.calm,
                second=not options.alone,
            ),
        )
    print(report.text())
    return 1 if report.violations else 130 if report.ended_by else 0


def _kinds(text: str) -> tuple[str, ...]:
    named = text.split(",")
    if unknown := [each for each in named if each not in plan.KINDS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is no kind of fault; use {', '.join(plan.KINDS)}")
    return tuple(kind for kind in plan.KINDS if kind in named)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
