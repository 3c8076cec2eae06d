"""What safety costs: durable and fast, on one node and on three with three copies, beside a bare publish on each.

What each can lose, once a request was answered:

- one node, durable: nothing while its disk is whole.
- one node, fast: what was answered in the last 100 ms, when the machine loses power; nothing when processes die.
- three nodes, durable: nothing while any two of the three disks are whole.
- three nodes, fast: the last 100 ms, when two machines lose power at the same moment.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

import msgspec
import uvloop

from syntor.bench import load
from syntor.bench.runs import CONCURRENCY, SCRIPT, SEQUENTIAL_RUNS, WARM_UP_RUNS
from syntor.contracts import subjects
from syntor.jetstream.access import NO_CREDENTIALS, Access
from syntor.jetstream.connection import connect
from syntor.stack.nats_config import SYNC_INTERVALS
from syntor.testing.local_stack import LocalStack
from syntor.testing.nats_cluster import NatsCluster

LOADED_RUNS = 1000
BARE_PUBLISHES = 500
SETTINGS = tuple((nodes, durability) for nodes in (1, 3) for durability in ("durable", "fast"))


class Figures(msgspec.Struct):
    """What was measured of one setting."""

    bare_ms: float
    """Milliseconds of one awaited publish of 400 bytes, median."""
    alone_ms: float
    """Milliseconds from HTTP request to final stream event, median, one client."""
    rate: float
    """Runs a second at `CONCURRENCY` clients."""


def main() -> None:
    """Measure all four and print a table."""
    print(
        f"{'':20}{'publish ms':>11}{'run p50 ms':>11}{'runs/s':>8}   (publish and p50 alone; runs/s at {CONCURRENCY})"
    )
    first: Figures | None = None
    for nodes, durability in SETTINGS:
        with (
            tempfile.TemporaryDirectory(prefix="syntor-bench-", ignore_cleanup_errors=True) as folder,
            _stack(Path(folder), nodes, durability) as stack,
        ):
            found = uvloop.run(_measure(stack, stack.admin if nodes == 1 else NO_CREDENTIALS))
        first = first or found
        name = f"{'one node' if nodes == 1 else 'three nodes'}, {durability}"
        ratio = (
            f"   {found.alone_ms / first.alone_ms:.2f} times the first's p50, {found.rate / first.rate:.2f} of its rate"
        )
        print(f"{name:20}{found.bare_ms:11.2f}{found.alone_ms:11.2f}{found.rate:8.0f}{ratio}", flush=True)


@contextlib.contextmanager
def _stack(folder: Path, nodes: int, durability: str) -> Generator[LocalStack, None, None]:
    with contextlib.ExitStack() as opened:
        environ: dict[str, str] = {}
        if nodes > 1:
            cluster = opened.enter_context(NatsCluster(folder / "nats", sync=SYNC_INTERVALS[durability]))
            environ = {"SYNTOR_NATS_URL": cluster.url, "SYNTOR_NATS_REPLICAS": str(nodes)}
        stack = LocalStack(folder / "home", script=SCRIPT, environ=environ)
        stack.up("--durability", durability)
        opened.callback(stack.down)
        yield stack


async def _measure(stack: LocalStack, access: Access) -> Figures:
    connection = await connect(stack.nats_url, "syntor/bench", access=access)
    took: list[float] = []
    for number in range(BARE_PUBLISHES):
        began = time.perf_counter()
        await connection.request(subjects.timer_schedule("bench", str(number % 10)), b"x" * 400)
        took.append((time.perf_counter() - began) * 1000)
    await connection.close()
    await load.measure(stack.url, agent="worker", text="warm up", concurrency=4, runs=WARM_UP_RUNS)
    alone = await load.measure(stack.url, agent="worker", text="measure", concurrency=1, runs=SEQUENTIAL_RUNS)
    loaded = await load.measure(stack.url, agent="worker", text="measure", concurrency=CONCURRENCY, runs=LOADED_RUNS)
    return Figures(sorted(took)[len(took) // 2], alone.percentile_ms(0.5), loaded.rate)


if __name__ == "__main__":
    main()
