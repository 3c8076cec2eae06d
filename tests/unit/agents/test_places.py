"""An external agent gets at most its own number of calls concurrently, and takes no place of another one."""

from __future__ import annotations

import asyncio

from syntor.agents.external_gateway.places import Places

DEADLINE_S = 10.0


class Calls:
    """Calls that end when told to; knows which are in progress."""

    def __init__(self) -> None:
        self.places = Places()
        self.started: asyncio.Queue[str] = asyncio.Queue()
        self.proceed = asyncio.Event()
        self.active = 0

    async def call(self, agent_id: str, limit: int) -> None:
        async with self.places.hold(agent_id, limit):
            self.active += 1
            self.started.put_nowait(agent_id)
            await self.proceed.wait()
            self.active -= 1

    async def until(self, count: int) -> list[str]:
        async with asyncio.timeout(DEADLINE_S):
            return [await self.started.get() for _ in range(count)]


async def test_calls_beyond_an_agents_places_wait_and_others_do_not() -> None:
    calls = Calls()
    hanging = [asyncio.create_task(calls.call("a", 2)) for _ in range(5)]
    assert await calls.until(2) == ["a", "a"]
    other = asyncio.create_task(calls.call("b", 1))
    assert await calls.until(1) == ["b"]
    assert (calls.active, calls.started.empty()) == (3, True)
    calls.proceed.set()
    await asyncio.wait_for(asyncio.gather(*hanging, other), DEADLINE_S)
    assert calls.active == 0


async def test_a_raised_number_of_places_applies_to_those_who_wait() -> None:
    calls = Calls()
    tasks = [asyncio.create_task(calls.call("a", 1)) for _ in range(3)]
    await calls.until(1)
    tasks.append(asyncio.create_task(calls.call("a", 4)))
    await calls.until(3)
    assert calls.active == 4
    calls.proceed.set()
    await asyncio.wait_for(asyncio.gather(*tasks), DEADLINE_S)


async def test_a_call_that_is_cancelled_while_it_waits_or_works_frees_its_place() -> None:
    calls = Calls()
    tasks = [asyncio.create_task(calls.call("a", 1)) for _ in range(3)]
    await calls.until(1)
    for task in tasks[:2]:
        task.cancel()
    await asyncio.gather(*tasks[:2], return_exceptions=True)
    await calls.until(1)
    calls.proceed.set()
    await asyncio.wait_for(tasks[2], DEADLINE_S)
