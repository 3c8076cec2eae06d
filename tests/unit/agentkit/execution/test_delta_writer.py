"""Streamed text is written in order, and a cancelled caller ends no write."""

from __future__ import annotations

import asyncio

import pytest

from syntor.agentkit.execution.delta_writer import DeltaWriter


async def test_a_caller_cancelled_while_it_waits_leaves_the_write_to_the_next_one() -> None:
    written: list[str] = []
    go_on = asyncio.Event()

    async def write(call: int, index: int, text: str) -> None:
        await go_on.wait()
        written.append(text)

    writer = DeltaWriter(write)
    writer.begin(1)
    writer.add("a")
    finishing = asyncio.create_task(writer.finish())
    await asyncio.sleep(0)
    finishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await finishing
    go_on.set()
    await asyncio.wait_for(writer.finish(), 5.0)
    assert written == ["a"]


async def test_pieces_are_joined_and_finishing_waits_for_the_last() -> None:
    written: list[tuple[int, int, str]] = []

    async def write(call: int, index: int, text: str) -> None:
        await asyncio.sleep(0)
        written.append((call, index, text))

    writer = DeltaWriter(write)
    writer.begin(2)
    for piece in "abc":
        writer.add(piece)
    await writer.finish()
    assert "".join(text for _, _, text in written) == "abc"
    assert [(call, index) for call, index, _ in written] == [(2, number) for number in range(len(written))]
