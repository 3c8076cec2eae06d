"""`python -m syntor.faults [--seed N] [--points N]`: a campaign of faults; ends with 1 when something does not hold."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from syntor.faults.harness import run


def main(arguments: list[str]) -> int:
    """Run one campaign and print its report."""
    parser = argparse.ArgumentParser(prog="python -m syntor.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="the same seed, the same faults")
    parser.add_argument("--points", type=int, default=500, help="how many faults")
    parser.add_argument("--keep", type=Path, default=None, help="folder to keep log and logs in, for a look afterwards")
    parser.add_argument(
        "--plain",
        action="store_true",
        help="faults at processes only, one at a time, nothing doubled: for takeover times",
    )
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="syntor-faults-", ignore_cleanup_errors=True) as folder:
        home = options.keep or Path(folder)
        report = run(home, options.seed, options.points, plain=options.plain)
    print(report.text())
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
