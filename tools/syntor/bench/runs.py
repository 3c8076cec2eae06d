"""Latency and throughput of whole runs, from HTTP request to final stream event; the baseline is `baseline.py`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import uvloop

from syntor.bench import baseline, load
from syntor.testing.local_stack import LocalStack

SCRIPT = "rules:\n  - text: The scripted answer, in a few words in one chunk.\n"
SEQUENTIAL_RUNS, LOADED_RUNS, WARM_UP_RUNS, CONCURRENCY = 300, 2000, 100, 32
TARGETS = {"fast": (25.0, 150.0), "durable": (40.0, 100.0)}  # p50 in ms with one client, runs per second with 32


def main() -> None:
    """Measure both durabilities and print a table."""
    print(f"{'':24}{'p50 ms':>9}{'p99 ms':>9}{'runs/s':>9}   (latency with 1 client, throughput with {CONCURRENCY})")
    for durability, (target_ms, target_rate) in TARGETS.items():
        with tempfile.TemporaryDirectory(prefix="syntor-bench-") as folder:
            stack = LocalStack(Path(folder), script=SCRIPT)
            stack.up("--durability", durability)
            try:
                single, loaded = uvloop.run(_measure_stack(stack.url))
                base_single, base_loaded = uvloop.run(_measure_baseline(stack))
            finally:
                stack.down()
        _row(f"syntor, {durability}", single, loaded)
        _row(f"baseline, {durability}", base_single, base_loaded)
        latency = single.percentile_ms(0.5) / base_single.percentile_ms(0.5)
        throughput = loaded.throughput / base_loaded.throughput
        print(
            f"  ratio to the baseline: p50 latency {latency:.2f}, throughput {throughput:.2f}; "
            f"targets: p50 <= {target_ms:g} ms, throughput >= {target_rate:g} runs/s"
        )


def _row(name: str, single: load.Samples, loaded: load.Samples) -> None:
    print(
        f"{name:24}{single.percentile_ms(0.5):9.2f}{single.percentile_ms(0.99):9.2f}{loaded.throughput:9.0f}",
        flush=True,
    )


async def _measure_stack(url: str) -> tuple[load.Samples, load.Samples]:
    await load.measure(url, agent="worker", text="warm up", concurrency=4, runs=WARM_UP_RUNS)
    single = await load.measure(url, agent="worker", text="measure", concurrency=1, runs=SEQUENTIAL_RUNS)
    loaded = await load.measure(url, agent="worker", text="measure", concurrency=CONCURRENCY, runs=LOADED_RUNS)
    return single, loaded


async def _measure_baseline(stack: LocalStack) -> tuple[load.Samples, load.Samples]:
    single = await baseline.measure(stack.nats_url, stack.admin.nkey, concurrency=1, runs=SEQUENTIAL_RUNS)
    loaded = await baseline.measure(stack.nats_url, stack.admin.nkey, concurrency=CONCURRENCY, runs=LOADED_RUNS)
    return single, loaded


if __name__ == "__main__":
    main()
