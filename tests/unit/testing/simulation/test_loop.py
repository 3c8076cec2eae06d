"""The simulated event loop: time jumps, processes crash and stall, and nothing depends on addresses in memory."""

from __future__ import annotations

import asyncio
import os
import random
import time

import pytest

from syntor.contracts.clock import now
from syntor.testing.simulation.clock import simulated_time
from syntor.testing.simulation.loop import START_S, DeadlineError, SimulatedLoop, SimulatedProcess


def test_a_year_passes_at_once_and_the_clock_shows_it() -> None:
    async def sleep() -> float:
        await asyncio.sleep(365 * 86400.0)
        return time.time()

    loop = SimulatedLoop()
    before = time.perf_counter()
    with simulated_time(loop, 1):
        assert loop.run(sleep(), limit_s=1e9) == START_S + 365 * 86400.0
        loop.end([])
    assert time.perf_counter() - before < 5.0


def test_time_and_randomness_follow_the_seed_and_are_real_again_afterwards() -> None:
    async def look() -> tuple[float, bytes, float]:
        return now().timestamp(), os.urandom(8), random.random()

    def once(seed: int) -> tuple[float, bytes, float]:
        loop = SimulatedLoop()
        with simulated_time(loop, seed):
            seen = loop.run(look(), limit_s=1.0)
        loop.end([])
        return seen

    assert once(1) == once(1)
    assert once(1) != once(2)
    assert now().timestamp() != START_S
    assert os.urandom(8) != os.urandom(8)


def test_a_crashed_process_runs_nothing_any_more_not_even_its_clean_up() -> None:
    loop, process, seen = SimulatedLoop(), SimulatedProcess("p"), list[str]()

    async def work() -> None:
        try:
            await asyncio.sleep(2.0)
            seen.append("worked")
        finally:
            seen.append("cleaned up")

    async def world() -> list[str]:
        loop.spawn(process, work())
        await asyncio.sleep(1.0)
        process.alive = False
        await asyncio.sleep(5.0)
        return list(seen)

    assert loop.run(world(), limit_s=60.0) == []
    loop.end([process])
    assert seen == ["cleaned up"], "only once nothing can see it"


def test_a_stalled_process_continues_late_and_in_order_while_the_world_goes_on() -> None:
    loop, process, seen = SimulatedLoop(), SimulatedProcess("p"), list[tuple[str, float]]()

    async def tick(name: str, pause_s: float) -> None:
        while True:
            await asyncio.sleep(pause_s)
            seen.append((name, loop.time()))

    async def world() -> None:
        ticking = loop.create_task(tick("world", 1.0))
        loop.spawn(process, tick("process", 1.0))
        await asyncio.sleep(1.5)
        loop.stall(process, 10.0)
        await asyncio.sleep(11.2)
        ticking.cancel()

    loop.run(world(), limit_s=60.0)
    loop.end([process])
    assert [at for name, at in seen if name == "process"] == [1.0, 11.5, 12.5]
    assert [at for name, at in seen if name == "world"] == [float(number) for number in range(1, 13)]


def test_sets_of_tasks_are_iterated_in_the_order_of_creation() -> None:
    async def world() -> list[int]:
        tasks = [asyncio.ensure_future(asyncio.sleep(0, number)) for number in range(6)]
        done, _ = await asyncio.wait(tasks)
        return [task.result() for task in done]

    loop = SimulatedLoop()
    assert loop.run(world(), limit_s=1.0) == list(range(6))
    loop.end([])


def test_a_call_in_a_thread_is_made_at_once_and_completes_later() -> None:
    async def world() -> tuple[int, float]:
        loop = asyncio.get_running_loop()
        return await asyncio.to_thread(lambda: 7), loop.time()

    loop = SimulatedLoop()
    result, at = loop.run(world(), limit_s=1.0)
    loop.end([])
    assert result == 7
    assert at > 0


def test_what_never_ends_is_an_error_and_so_is_what_nothing_can_continue() -> None:
    async def forever() -> None:
        while True:  # noqa: ASYNC110
            await asyncio.sleep(1.0)

    async def stuck() -> None:
        await asyncio.get_running_loop().create_future()

    for never, error in ((forever, "no end after 5 simulated seconds"), (stuck, "nothing is left to happen")):
        loop = SimulatedLoop()
        with pytest.raises(DeadlineError, match=error):
            loop.run(never(), limit_s=5.0)
        loop.end([])
