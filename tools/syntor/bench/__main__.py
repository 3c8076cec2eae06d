"""`python -m syntor.bench [NAME ...]`: run the named benchmarks, or all.

Every result is printed next to a baseline and as a ratio to it. Absolute figures vary with the machine's load.
`python -m syntor.bench.compare CHECKOUT` compares two versions of Syntor instead.
"""

from __future__ import annotations

import argparse
import importlib
import sys

BENCHMARKS = {
    "footprint": "memory of the stack, start-up time, CPU time of the command line",
    "dispatch_latency": "latency from a committed event to its handler in another process",
    "runs": "latency and throughput of whole runs over HTTP",
    "replay": "throughput of rebuilding the read models and of verifying the log",
    "long_run": "log growth of a run with 1,000 tool calls",
    "undo": "time of checkpoints and of undo in a workspace of 20,000 files",
    "durability": "latency and throughput by durability and replicas",
}


def main(arguments: list[str]) -> int:
    """Run the named benchmarks, or all; return the exit code."""
    listed = "\n".join(f"  {name:18}{text}" for name, text in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m syntor.bench",
        description="Run the named benchmarks, or all.",
        epilog=f"benchmarks:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmark to run; without, all of them")
    names: list[str] = parser.parse_args(arguments).names
    if unknown := [name for name in names if name not in BENCHMARKS]:
        parser.error(f"unknown benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    for name in names or BENCHMARKS:
        print(f"== {name}: {BENCHMARKS[name]}", flush=True)
        importlib.import_module(f"syntor.bench.{name}").main()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
