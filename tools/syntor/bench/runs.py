"""A whole run, HTTP request to final stream event, through every service, beside the bare JetStream floor."""

from __future__ import annotations

import tempfile
from pathlib import Path

import uvloop

from syntor.bench import floor, load
from syntor.testing.local_stack import LocalStack

SCRIPT = "rules:\n  - text: The scripted answer, in a few words that arrive at once.\n"
SEQUENTIAL_RUNS, LOADED_RUNS, WARM_UP_RUNS, CONCURRENCY = 300, 2000, 100, 32
TARGETS = {"fast": (25.0, 150.0), "durable": (40.0, 100.0)}  # p50 in ms alone, runs a second at concurrency 32


def main() -> None:
    """Measure both durabilities and print a table."""
    print(f"{'':24}{'p50 ms':>9}{'p99 ms':>9}{'runs/s':>9}   (p50 and p99 alone; runs/s at concurrency {CONCURRENCY})")
    for durability, (target_ms, target_rate) in TARGETS.items():
        with tempfile.TemporaryDirectory(prefix="syntor-bench-") as folder:
            stack = LocalStack(Path(folder), script=SCRIPT)
            stack.up("--durability", durability)
            try:
                alone, loaded = uvloop.run(_measure_stack(stack.url))
                floor_alone, floor_loaded = uvloop.run(_measure_floor(stack))
            finally:
                stack.down()
        _row(f"syntor, {durability}", alone, loaded)
        _row(f"floor, {durability}", floor_alone, floor_loaded)
        p50_ratio = alone.percentile_ms(0.5) / floor_alone.percentile_ms(0.5)
        print(
            f"  ratio: {p50_ratio:.2f} times the floor's p50, {loaded.rate / floor_loaded.rate:.2f} of its rate; "
            f"targets p50 <= {target_ms:g} ms, >= {target_rate:g} runs/s"
        )


def _row(name: str, alone: load.Samples, loaded: load.Samples) -> None:
    print(f"{name:24}{alone.percentile_ms(0.5):9.2f}{alone.percentile_ms(0.99):9.2f}{loaded.rate:9.0f}", flush=True)


async def _measure_stack(url: str) -> tuple[load.Samples, load.Samples]:
    await load.measure(url, agent="worker", text="warm up", concurrency=4, runs=WARM_UP_RUNS)
    alone = await load.measure(url, agent="worker", text="measure", concurrency=1, runs=SEQUENTIAL_RUNS)
    loaded = await load.measure(url, agent="worker", text="measure", concurrency=CONCURRENCY, runs=LOADED_RUNS)
    return alone, loaded


async def _measure_floor(stack: LocalStack) -> tuple[load.Samples, load.Samples]:
    alone = await floor.measure(stack.nats_url, stack.admin.nkey, concurrency=1, runs=SEQUENTIAL_RUNS)
    loaded = await floor.measure(stack.nats_url, stack.admin.nkey, concurrency=CONCURRENCY, runs=LOADED_RUNS)
    return alone, loaded


if __name__ == "__main__":
    main()
