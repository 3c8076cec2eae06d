"""`python -m syntor.bench.compare CHECKOUT`: this checkout beside another one, both stacks up, in alternating blocks.

Says whether a change costs latency, throughput, CPU or start-up time. CHECKOUT is a folder with a `.venv` of its own,
such as a git worktree of an earlier commit after `make setup`. Both run the scripted model without delay.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import uvloop

from syntor.bench import load
from syntor.bench.runs import SCRIPT
from syntor.testing.local_stack import HOMES

BLOCKS, SEQUENTIAL_RUNS, LOADED_RUNS, CONCURRENCY, WARM_UP_RUNS = 10, 40, 160, 16, 60
_HERTZ = os.sysconf("SC_CLK_TCK")


class Side:
    """The stack of one checkout, in a home of its own."""

    def __init__(self, name: str, checkout: Path, home: Path, durability: str) -> None:
        self.name = name
        self.latencies_ms: list[float] = []
        self.throughputs: list[float] = []
        self.cpu_s = 0.0
        self._command = str(checkout / ".venv" / "bin" / "syntor")
        self._home = home
        script = home / "script.yaml"
        script.write_text(SCRIPT)
        kept = {key: value for key, value in os.environ.items() if not key.startswith("SYNTOR_")}
        scripted = {"SYNTOR_INFERENCE_PROVIDER": "scripted", "SYNTOR_SCRIPT": str(script)}
        self._environ = kept | {"SYNTOR_HOME": str(home)} | scripted
        began = time.perf_counter()
        self._run("up", "--detach", "--durability", durability)
        self.ready_s = time.perf_counter() - began
        self.url: str = json.loads(self._run("status", "-o", "json"))["url"]
        HOMES[self.url] = home

    def down(self) -> None:
        """Stop the stack."""
        self._run("down")

    async def warm_up(self) -> None:
        """Run until caches are warm."""
        await load.measure(self.url, agent="worker", text="warm up", concurrency=4, runs=WARM_UP_RUNS)

    async def block(self) -> None:
        """Measure one block: latency with one client, then throughput with many."""
        before = self._cpu_s()
        single = await load.measure(self.url, agent="worker", text="measure", concurrency=1, runs=SEQUENTIAL_RUNS)
        loaded = await load.measure(self.url, agent="worker", text="measure", concurrency=CONCURRENCY, runs=LOADED_RUNS)
        self.latencies_ms.append(single.percentile_ms(0.5))
        self.throughputs.append(loaded.throughput)
        self.cpu_s += self._cpu_s() - before

    def summary(self) -> tuple[float, float, float]:
        """Return median p50 in ms, median runs per second, and CPU-ms per run of all processes."""
        runs = len(self.latencies_ms) * (SEQUENTIAL_RUNS + LOADED_RUNS)
        return statistics.median(self.latencies_ms), statistics.median(self.throughputs), self.cpu_s / runs * 1000

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            [self._command, *arguments], env=self._environ, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"{self.name}: syntor {arguments[0]} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def _cpu_s(self) -> float:
        """Return the CPU seconds used so far by all processes of this home."""
        mark, total = f"SYNTOR_HOME={self._home}\0".encode(), 0
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (folder / "environ").read_bytes():
                    fields = (folder / "stat").read_text().rpartition(")")[2].split()
                    total += int(fields[11]) + int(fields[12])
            except OSError:  # it ended meanwhile, or is another user's
                continue
        return total / _HERTZ


async def _measure(sides: list[Side]) -> None:
    for side in sides:
        await side.warm_up()
    for number in range(BLOCKS):
        for side in sides if number % 2 else sides[::-1]:
            await side.block()


def main(arguments: list[str]) -> int:
    """Compare two checkouts and print a table; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m syntor.bench.compare", description=__doc__)
    parser.add_argument("checkout", type=Path, metavar="CHECKOUT", help="folder of the other checkout")
    parser.add_argument("--durability", choices=("fast", "durable"), default="fast")
    given = parser.parse_args(arguments)
    here, other = Path(__file__).resolve().parents[3], Path(given.checkout).resolve()
    with ExitStack() as stack:
        sides: list[Side] = []
        for name, checkout in (("other", other), ("this", here)):
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"syntor-compare-{name}-")))
            sides.append(Side(name, checkout, home, given.durability))
            stack.callback(sides[-1].down)
        uvloop.run(_measure(sides))
        print(f"{'':8}{'p50 ms':>9}{'runs/s':>9}{'CPU ms/run':>12}{'ready s':>9}")
        for side in sides:
            p50_ms, rate, cpu_ms = side.summary()
            print(f"{side.name:8}{p50_ms:9.2f}{rate:9.1f}{cpu_ms:12.2f}{side.ready_s:9.2f}")
        ratios = [mine / theirs for mine, theirs in zip(sides[1].summary(), sides[0].summary(), strict=True)]
        print(f"{'ratio':8}{ratios[0]:9.3f}{ratios[1]:9.3f}{ratios[2]:12.3f}{sides[1].ready_s / sides[0].ready_s:9.2f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
