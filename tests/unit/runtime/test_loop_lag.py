"""The lag of the event loop is measured, exported, and stops a process from taking work it could lose."""

from __future__ import annotations

import asyncio
import time

from syntor.metrics.rendering import render
from syntor.runtime.loop_lag import INTERVAL_S, LoopLag


async def test_a_blocked_loop_is_measured_and_stops_new_work_until_it_has_recovered() -> None:
    lag = LoopLag()
    measuring = asyncio.create_task(lag.measure())
    await asyncio.sleep(0)
    until = time.perf_counter() + INTERVAL_S + 0.3
    while time.perf_counter() < until:
        pass  # blocks the loop
    await measuring
    assert lag.last_s > 0.2
    assert not lag.allows_work(lease_s=0.2)
    await lag.measure()
    assert lag.allows_work(lease_s=0.2)


def test_a_scrape_sees_the_longest_lag_of_the_last_measurements() -> None:
    lag = LoopLag()
    for lag_s in (0.0, 1.5, 0.25, -0.001):
        lag.record(lag_s)
    assert b"syntor_event_loop_lag_seconds 1.5" in render()
    assert lag.last_s == 0.0
