"""`python -m syntor.faults [--seed N] [--points N]`: soak test under injected faults; exit code 1 on a violation."""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType

from syntor.faults.soak_test import run


def main(arguments: list[str]) -> int:
    """Run one soak test and print its report."""
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
        "--plain",
        action="store_true",
        help="inject process faults only, one at a time, without second instances; measures takeover times",
    )
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _exit)
    with tempfile.TemporaryDirectory(prefix="syntor-faults-", ignore_cleanup_errors=True) as folder:
        home = options.keep or Path(folder)
        report = run(home, options.seed, options.points, plain=options.plain)
    print(report.text())
    return 1 if report.violations else 0


def _exit(number: int, _: FrameType | None) -> None:
    """End the process after it has taken its stack down."""
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
