"""A task keeps the state of its workspace before and after its calls, and its events say so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from syntor.agentkit.checkpoints.keeper import Keeper
from syntor.agentkit.checkpoints.retention import Retention
from syntor.agentkit.checkpoints.undoing import Undoing
from syntor.agentkit.domain.checkpoint import Limits, Mark, segments
from syntor.agentkit.manifest import Manifest
from syntor.contracts.errors import NotReachableError
from syntor.contracts.run.v1 import Permissions, UserInput
from syntor.contracts.task.v1 import AgentInvokeDone, ToolDispatched, ToolResult, WorkspaceCheckpointed
from syntor.testing.failing import FailingStore
from syntor.testing.random_turns import picture
from syntor.testing.tasks import assign, delivery, task_worker

MANIFEST = Manifest(id="worker", name="Worker", description="-", prompt="-", tools=["read_file", "write_file", "bash"])


class World:
    """A workspace, a log, and a worker whose model follows a script."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, *rounds: list[tuple[str, dict[str, Any]]]
    ) -> None:
        self.folder, self.work = folder, folder / "work"
        self.work.mkdir()
        (self.work / "a.txt").write_text("one\ntwo\n")
        rules = [
            {
                **({"match": "go"} if not number else {"tool_result": "."}),
                "times": 1,
                "tool_calls": [{"name": name, "arguments": arguments} for name, arguments in calls],
            }
            for number, calls in enumerate(rounds)
        ]
        (folder / "script.yaml").write_text(json.dumps({"rules": [*rules, {"tool_result": ".", "text": "over"}]}))
        monkeypatch.setenv("SYNTOR_SCRIPT", str(folder / "script.yaml"))
        self.store = FailingStore()
        self.keeper = Keeper(folder / "home", Limits(), Retention())

    async def start(self) -> Any:
        request = UserInput(
            agent="worker",
            queue="worker",
            content="go",
            workspace=str(self.work),
            permissions=Permissions(mode="auto", allow=["bash", "write_file"]),
        )
        return await assign(self.store, request)

    async def handle(self, assignment: Any, attempt: int = 1) -> None:
        worker = task_worker(self.store, self.folder, manifest=MANIFEST, checkpoints=self.keeper)
        await worker.handle(delivery(assignment, attempt))

    async def events(self) -> list[Any]:
        return [recorded.event async for recorded in self.store.load("syntor.events.task.r1.>")]

    async def kept(self) -> list[WorkspaceCheckpointed]:
        return [event for event in await self.events() if isinstance(event, WorkspaceCheckpointed)]

    async def work_done(self) -> Any:
        return segments(Mark("r1", "t1", each.moment, each.checkpoint) for each in await self.kept())


async def test_what_a_command_changed_is_counted_and_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = "printf 'one\\n2\\n3\\n' > a.txt; mkdir -p d/e; printf 'x\\n' > d/e/new; chmod 600 a.txt"
    world = World(tmp_path, monkeypatch, [("bash", {"command": command})], [("read_file", {"path": "a.txt"})])
    before = picture(world.work)
    await world.handle(await world.start())
    events = await world.events()
    kept = await world.kept()
    assert [each.moment for each in kept] == ["before", "after"]
    assert events.index(kept[0]) < events.index(next(each for each in events if isinstance(each, ToolDispatched)))
    assert (kept[1].changed_files, kept[1].lines_added, kept[1].lines_removed) == (2, 3, 1)
    assert isinstance(events[-1], AgentInvokeDone)
    plan, notes = Undoing(world.keeper.of(world.work)).undo(await world.work_done(), "s1", force=False)
    assert (plan.conflicts, notes, picture(world.work)) == ([], [], before)


async def test_reading_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, monkeypatch, [("read_file", {"path": "a.txt"})])
    await world.handle(await world.start())
    assert await world.kept() == []
    assert not (tmp_path / "home").exists()


async def test_a_task_that_dies_in_a_call_keeps_its_first_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, monkeypatch, [("bash", {"command": "echo x >> a.txt"})])
    before = picture(world.work)
    assignment = await world.start()
    world.store.fail_at(8, stored=False)  # the tool's result
    with pytest.raises(NotReachableError):
        await world.handle(assignment)
    await world.handle(assignment, 2)
    assert "unknown" in [each.outcome for each in await world.events() if isinstance(each, ToolResult)]
    plan, _ = Undoing(world.keeper.of(world.work)).undo(await world.work_done(), "s1", force=True)
    assert [change.path for change in plan.changes] == [b"a.txt"]
    assert picture(world.work) == before


async def test_without_git_the_work_goes_on_and_the_log_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(
        tmp_path,
        monkeypatch,
        [("write_file", {"path": "b.txt", "content": "b"})],
        [("write_file", {"path": "c.txt", "content": "c"})],
    )
    monkeypatch.setattr("shutil.which", lambda name: None)
    await world.handle(await world.start())
    [said] = await world.kept()
    assert (said.checkpoint, said.problem) == ("", "git is not installed")
    assert (world.work / "c.txt").read_text() == "c"
