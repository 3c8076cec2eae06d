"""An approval is for the content it was requested with: changed since, the call needs another approval."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from syntor.agentkit.manifest import Manifest
from syntor.contracts.request.v1 import ApprovalDecision
from syntor.contracts.run.v1 import Permissions, TaskAssigned, UserInput
from syntor.contracts.task.v1 import ApprovalRequired, ToolDispatched, ToolResult
from syntor.testing.memory import MemoryStore
from syntor.testing.tasks import assign, delivery, put, task_worker

MANIFEST = Manifest(id="worker", name="Worker", description="-", prompt="-", tools=["write_file", "edit_file", "bash"])
OTHER = "text of another hand"


class Run:
    """One run that makes one call in mode `ask`, in a workspace with two files."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.store = folder, MemoryStore()
        self.workspace = folder / "work"
        self.workspace.mkdir()
        (self.workspace / "a.txt").write_text("one\n")
        (self.workspace / "run.sh").write_text("echo ran >> log.txt\n")
        self._monkeypatch, self._resume = monkeypatch, 0

    async def call(self, tool: str, **arguments: Any) -> ApprovalRequired:
        script = self.folder / "script.yaml"
        script.write_text(
            json.dumps(
                {
                    "rules": [
                        {"match": "go", "times": 1, "tool_calls": [{"name": tool, "arguments": arguments}]},
                        {"tool_result": ".", "text": "over"},
                    ]
                }
            )
        )
        self._monkeypatch.setenv("SYNTOR_SCRIPT", str(script))
        request = UserInput(
            agent="worker", queue="worker", content="go", workspace=str(self.workspace), permissions=Permissions()
        )
        assignment = await assign(self.store, request)
        await task_worker(self.store, self.folder, manifest=MANIFEST).handle(delivery(assignment))
        return await self.newest()

    async def newest(self) -> ApprovalRequired:
        return [event for event in await self.events() if isinstance(event, ApprovalRequired)][-1]

    async def events(self) -> list[Any]:
        return [recorded.event async for recorded in self.store.load("syntor.events.task.r1.>")]

    async def approve(self, required: ApprovalRequired) -> None:
        decision = ApprovalDecision(
            approval_id=required.approval_id, approved=True, content_hash=required.content_hash, decided_by="ada"
        )
        await put(self.store, "r1", decision, revision=None)
        self._resume += 1
        assigned = TaskAssigned(task_id="t1", agent="worker", queue="worker", resume=self._resume)
        position = await put(self.store, "r1", assigned, version=2 + self._resume, revision=None)
        recorded = await self.store.get(position)
        assert recorded is not None
        await task_worker(self.store, self.folder, manifest=MANIFEST).handle(delivery(recorded))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("tool", "arguments", "changed", "after"),
    [
        ("write_file", {"path": "a.txt", "content": "mine\n"}, "a.txt", "mine\n"),
        ("edit_file", {"path": "a.txt", "old_string": "one", "new_string": "two"}, "a.txt", f"{OTHER}\ntwo\n"),
        ("bash", {"command": "sh run.sh"}, "run.sh", None),
        ("bash", {"command": "cd . && timeout 5 ./run.sh"}, "run.sh", None),
    ],
)
async def test_content_that_changed_after_the_approval_needs_another_one(
    run: Run, tool: str, arguments: dict[str, Any], changed: str, after: str | None
) -> None:
    (run.workspace / "run.sh").chmod(0o755)
    first = await run.call(tool, **arguments)
    path = run.workspace / changed
    path.write_text("#!/bin/sh\necho ran >> log.txt; echo more >> log.txt\n" if after is None else f"{OTHER}\none\n")
    replaced = path.read_text()
    await run.approve(first)

    second = await run.newest()
    assert second.approval_id == f"{first.approval_id}_r2"
    assert second.content_hash != first.content_hash
    assert second.reason.startswith(f"{changed} changed after this was approved")
    assert second.rule == ""
    assert path.read_text() == replaced
    assert not any(isinstance(event, ToolDispatched) for event in await run.events())

    await run.approve(second)
    [result] = [event for event in await run.events() if isinstance(event, ToolResult)]
    assert not result.is_error, result.content
    if after is None:
        assert (run.workspace / "log.txt").read_text() == "ran\nmore\n"
    else:
        assert path.read_text() == after


async def test_content_that_stayed_needs_one_approval(run: Run) -> None:
    required = await run.call("write_file", path="a.txt", content="mine\n")
    assert [each.path for each in required.bound_files] == ["a.txt"]
    await run.approve(required)
    assert (run.workspace / "a.txt").read_text() == "mine\n"
    assert msgspec.json.decode(msgspec.json.encode(required), type=ApprovalRequired) == required


async def test_a_new_file_that_someone_made_meanwhile_is_not_overwritten(run: Run) -> None:
    required = await run.call("write_file", path="new.txt", content="mine\n")
    (run.workspace / "new.txt").write_text(OTHER)
    await run.approve(required)
    assert (run.workspace / "new.txt").read_text() == OTHER
