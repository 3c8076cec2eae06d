"""A handler that waits lends its place, and takes one again before it continues."""

from __future__ import annotations

import asyncio

import pytest

from syntor.jetstream.places import Places, lent

DEADLINE_S = 5.0


async def test_a_lent_place_is_taken_by_another_and_then_taken_again() -> None:
    places, order = Places(1), list[str]()
    waiting, ready = asyncio.Event(), asyncio.Event()

    async def waits() -> None:
        async with places.taken():
            async with lent():
                waiting.set()
                await ready.wait()
            order.append("continued")

    async def other() -> None:
        async with places.taken():
            ready.set()
            await asyncio.sleep(0)  # the one that waits could continue now, if it needed no place
            order.append("other")

    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
        group.create_task(waits())
        await waiting.wait()
        assert places.lent == 1
        group.create_task(other())
    assert order == ["other", "continued"]
    assert places.lent == 0


@pytest.mark.parametrize("while_taking", [False, True])
async def test_a_handler_that_is_cancelled_without_its_place_gives_back_none(while_taking: bool) -> None:
    places, waiting, ready = Places(1), asyncio.Event(), asyncio.Event()

    async def waits() -> None:
        async with places.taken(), lent():
            waiting.set()
            await ready.wait()

    task = asyncio.create_task(waits())
    async with asyncio.timeout(DEADLINE_S):
        await waiting.wait()
        async with places.taken():
            if while_taking:
                ready.set()
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert places.lent == 0
            another = asyncio.create_task(places.taken().__aenter__())
            await asyncio.sleep(0)
            assert not another.done()  # there is one place
        await another


async def test_tasks_of_one_handler_lend_its_place_once() -> None:
    places = Places(1)

    async def lend() -> int:
        async with lent():
            await asyncio.sleep(0)
            return places.lent

    async with asyncio.timeout(DEADLINE_S), places.taken():
        assert max(await asyncio.gather(lend(), lend())) == 1
    async with asyncio.timeout(DEADLINE_S), places.taken():
        assert places.lent == 0


async def test_nothing_is_lent_outside_a_handler() -> None:
    async with lent():
        pass
