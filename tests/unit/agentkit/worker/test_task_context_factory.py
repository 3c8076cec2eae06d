"""What the tasks of an agent share outlives each of them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from syntor.agentkit.tools.sandbox import Sandbox, limits_only
from syntor.agentkit.worker import task_context_factory as factories
from syntor.testing.memory import MemoryStore
from syntor.testing.tasks import task_worker


async def test_a_task_cancelled_while_a_sandbox_opens_leaves_it_to_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proceed = asyncio.Event()

    async def open_slowly(workspace: Path, *, network: bool) -> Sandbox:
        await proceed.wait()
        return limits_only(workspace, "test")

    monkeypatch.setattr(factories, "open_sandbox", open_slowly)
    contexts = task_worker(MemoryStore(), tmp_path)._contexts
    first = asyncio.create_task(contexts.sandbox(tmp_path))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    proceed.set()
    assert (await asyncio.wait_for(contexts.sandbox(tmp_path), 10.0)).note == "test"


async def test_a_sandbox_that_could_not_be_opened_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = [OSError("no")]

    async def open_at_last(workspace: Path, *, network: bool) -> Sandbox:
        if failures:
            raise failures.pop()
        return limits_only(workspace, "test")

    monkeypatch.setattr(factories, "open_sandbox", open_at_last)
    contexts = task_worker(MemoryStore(), tmp_path)._contexts
    with pytest.raises(OSError, match="no"):
        await contexts.sandbox(tmp_path)
    assert (await contexts.sandbox(tmp_path)).note == "test"
