"""A process dies while a tool runs: repeatable tools run again, of all others the outcome is reported as unknown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from syntor.agentkit.manifest import Manifest
from syntor.contracts.errors import NotReachableError
from syntor.contracts.run.v1 import Permissions, UserInput
from syntor.contracts.task.v1 import AgentInvokeDone, ToolResult
from syntor.testing.failing import FailingStore
from syntor.testing.tasks import assign, delivery, task_worker

MANIFEST = Manifest(id="worker", name="Worker", description="-", prompt="-", tools=["read_file", "write_file", "bash"])
CALLS: dict[str, dict[str, Any]] = {
    "bash": {"command": "echo x >> log.txt"},
    "write_file": {"path": "new.txt", "content": "x"},
    "read_file": {"path": "a.txt"},
}


@pytest.mark.parametrize(
    ("tool", "outcome"), [("bash", "unknown"), ("write_file", "completed"), ("read_file", "completed")]
)
async def test_a_tool_whose_result_was_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str, outcome: str
) -> None:
    workspace = tmp_path / "work"
    workspace.mkdir()
    (workspace / "a.txt").write_text("a")
    script = tmp_path / "script.yaml"
    script.write_text(
        f"rules:\n  - match: go\n    times: 1\n    tool_calls: [{{name: {tool}, arguments: {CALLS[tool]!r}}}]\n"
        "  - tool_result: .\n    text: over\n"
    )
    monkeypatch.setenv("SYNTOR_SCRIPT", str(script))
    store = FailingStore()
    request = UserInput(
        agent="worker",
        queue="worker",
        content="go",
        workspace=str(workspace),
        permissions=Permissions(mode="auto"),
    )
    assignment = await assign(store, request)
    store.fail_at(7, stored=False)  # the tool's result, after started, call, completion, created, decided, dispatched
    with pytest.raises(NotReachableError):
        await task_worker(store, tmp_path, manifest=MANIFEST).handle(delivery(assignment))
    await task_worker(store, tmp_path, manifest=MANIFEST).handle(delivery(assignment, 2))
    events = [recorded.event async for recorded in store.load("syntor.events.task.r1.>")]
    [result] = [event for event in events if isinstance(event, ToolResult)]
    assert result.outcome == outcome
    assert isinstance(events[-1], AgentInvokeDone)
    if tool == "bash":
        assert (workspace / "log.txt").read_text() == "x\n"
        assert "the outcome is unknown" in result.content
