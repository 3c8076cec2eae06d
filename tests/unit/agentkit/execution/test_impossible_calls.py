"""An edit that cannot match goes back to the model with the nearest lines; no person is asked about it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from syntor.agentkit.manifest import Manifest
from syntor.contracts.run.v1 import Permissions, UserInput
from syntor.contracts.task.v1 import AgentInvokeDone, ApprovalRequired, ToolResult
from syntor.testing.failing import FailingStore
from syntor.testing.tasks import assign, delivery, task_worker

MANIFEST = Manifest(id="worker", name="Worker", description="-", prompt="-", tools=["edit_file"])


async def test_an_edit_that_cannot_match_is_not_put_to_a_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = tmp_path / "work"
    workspace.mkdir()
    (workspace / "a.py").write_text("lamp = 1\n")
    call = {"name": "edit_file", "arguments": {"path": "a.py", "old_string": "lamp = 2", "new_string": "x"}}
    script = tmp_path / "script.yaml"
    script.write_text(
        json.dumps({"rules": [{"match": "go", "times": 1, "tool_calls": [call]}, {"tool_result": ".", "text": "over"}]})
    )
    monkeypatch.setenv("SYNTOR_SCRIPT", str(script))
    store = FailingStore()
    request = UserInput(
        agent="worker", queue="worker", content="go", workspace=str(workspace), permissions=Permissions(mode="ask")
    )
    await task_worker(store, tmp_path, manifest=MANIFEST).handle(delivery(await assign(store, request)))
    events = [recorded.event async for recorded in store.load("syntor.events.task.r1.>")]
    [result] = [event for event in events if isinstance(event, ToolResult)]
    assert result.is_error
    assert result.content.endswith("the nearest is:\n    1 lamp = 1")
    assert not any(isinstance(event, ApprovalRequired) for event in events)
    assert isinstance(events[-1], AgentInvokeDone)
