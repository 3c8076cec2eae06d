"""`python -m syntor.bench [NAME ...]`: measure what is named (`BENCHMARKS`), or everything.

Figures are printed with what they are compared to. These machines are noisy: trust the ratios.
"""

from __future__ import annotations

import importlib
import sys

BENCHMARKS = ("footprint", "handoff", "runs", "replay", "long_run", "durability")


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all; return the exit code."""
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        sys.stderr.write(f"error: unknown benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}\n")
        return 2
    for name in names or BENCHMARKS:
        print(f"== {name}", flush=True)
        importlib.import_module(f"syntor.bench.{name}").main()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
