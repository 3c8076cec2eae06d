"""Cost of durability: durable and fast, on one node and on three with three replicas, with a bare publish as baseline.

What each setting can lose of acknowledged requests:

- one node, durable: nothing while its disk is intact.
- one node, fast: the last 100 ms when the machine loses power; nothing when processes crash.
- three nodes, durable: nothing while any two of the three disks are intact.
- three nodes, fast: the last 100 ms when two machines lose power at the same moment.
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
PUBLISHES = 500
SETTINGS = tuple((nodes, durability) for nodes in (1, 3) for durability in ("durable", "fast"))


class Figures(msgspec.Struct):
    """Results of one setting."""

    publish_ms: float
    """Median latency of one awaited publish of 400 bytes, milliseconds."""
    run_ms: float
    """Median latency from HTTP request to final stream event with one client, milliseconds."""
    throughput: float
    """Runs per second at `CONCURRENCY` clients."""


def main() -> None:
    """Measure all four settings and print a table."""
    print(
        f"{'':20}{'publish p50 ms':>15}{'run p50 ms':>11}{'runs/s':>8}"
        f"   (latency with 1 client, throughput with {CONCURRENCY})"
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
        latency, throughput = found.run_ms / first.run_ms, found.throughput / first.throughput
        ratios = f"   ratio to the first: latency {latency:.2f}, throughput {throughput:.2f}"
        print(f"{name:20}{found.publish_ms:15.2f}{found.run_ms:11.2f}{found.throughput:8.0f}{ratios}", flush=True)


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
    for number in range(PUBLISHES):
        began = time.perf_counter()
        await connection.request(subjects.timer_schedule("bench", str(number % 10)), b"x" * 400)
        took.append((time.perf_counter() - began) * 1000)
    await connection.close()
    await load.measure(stack.url, agent="worker", text="warm up", concurrency=4, runs=WARM_UP_RUNS)
    single = await load.measure(stack.url, agent="worker", text="measure", concurrency=1, runs=SEQUENTIAL_RUNS)
    loaded = await load.measure(stack.url, agent="worker", text="measure", concurrency=CONCURRENCY, runs=LOADED_RUNS)
    return Figures(sorted(took)[len(took) // 2], single.percentile_ms(0.5), loaded.throughput)


if __name__ == "__main__":
    main()
