"""What the tasks of an agent share outlives each of them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from syntor.agentkit.tools.own_files import usable_workspace
from syntor.agentkit.tools.sandbox import Sandbox, limits_only
from syntor.agentkit.worker import task_context_factory as factories
from syntor.contracts.run.v1 import Ceiling, Permissions, UserInput
from syntor.contracts.vocabulary import PermissionMode
from syntor.models.chat import ModelError
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


@pytest.mark.parametrize(
    ("requested", "highest", "applied"),
    [("", "ask", "ask"), ("", "plan", "plan"), ("plan", "ask", "plan"), ("auto", "auto-edit", "auto-edit")],
)
def test_no_mode_is_above_the_ceiling_of_the_run(
    tmp_path: Path, requested: PermissionMode, highest: PermissionMode, applied: str
) -> None:
    contexts = task_worker(MemoryStore(), tmp_path)._contexts
    own = Permissions(mode=requested) if requested else None
    request = UserInput(agent="a", queue="a", content="x", permissions=own, ceiling=Ceiling(max_mode=highest))
    assert contexts._permissions(request).mode == applied


def test_a_workspace_that_leads_outside_the_ceiling_by_now_is_refused(tmp_path: Path) -> None:
    (tmp_path / "allowed").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "allowed" / "link").symlink_to(tmp_path / "other")
    allowed = [str(tmp_path / "allowed")]
    assert usable_workspace(allowed[0], allowed) == tmp_path / "allowed"
    with pytest.raises(ModelError, match="outside the folders"):
        usable_workspace(f"{allowed[0]}/link", allowed)
