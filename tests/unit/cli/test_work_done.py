"""The line after an answer says what happened, whatever the answer says."""

from __future__ import annotations

import json

import msgspec
import pytest

from syntor.cli.event import Event
from syntor.cli.work_done import WorkDone
from syntor.contracts.run.v1 import RunDone
from syntor.contracts.task.v1 import LlmCallDone, ToolCall, ToolResult, WorkspaceCheckpointed


def _event(body: msgspec.Struct, subject: str = "task.r1.t1") -> Event:
    return Event(position=1, type="-", subject=subject, time=None, body=body)


def _ran(work: WorkDone, command: str, content: str = "ok", *, failed: bool = False) -> None:
    call = ToolCall(id="c1", name="bash", arguments=json.dumps({"command": command}))
    work.note(_event(LlmCallDone(call=1, tool_calls=[call])))
    work.note(_event(ToolResult(call_id="c1", content=content, is_error=failed)))


def _changed(work: WorkDone, task: str, files: int, added: int, removed: int) -> None:
    event = WorkspaceCheckpointed(
        moment="after", workspace="/w", checkpoint="c", changed_files=files, lines_added=added, lines_removed=removed
    )
    work.note(_event(event, f"task.r1.{task}"))


def test_files_lines_and_commands_are_counted_over_all_tasks() -> None:
    work = WorkDone()
    _changed(work, "t1", 1, 5, 0)
    _changed(work, "t1", 2, 7, 1)  # what the task changed so far
    _changed(work, "t2", 1, 1, 1)
    _ran(work, "ls")
    assert work.line() == "3 files changed, +8 -2 · 1 command run"


@pytest.mark.parametrize(
    ("command", "content", "failed", "said"),
    [
        ("pytest -q", "3 passed", False, "passed"),
        ("pytest -q", "exit code 1\n1 failed", True, "failed: exit code 1"),
        ("npm test", "killed after 120 s; output so far:\n(none)", True, "did not end"),
        ("pytest -q | tail -3", "1 failed", False, "ended, its exit code may be another program's"),
    ],
)
def test_how_tests_ended(command: str, content: str, failed: bool, said: str) -> None:
    work = WorkDone()
    _changed(work, "t1", 1, 1, 0)
    _ran(work, command, content, failed=failed)
    assert work.line() == f"1 file changed, +1 -0 · 1 command run · 1 test run, the last {said}"


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        ("Done. I've updated the parser.", "0 files changed"),
        ("I have now fixed it", "0 files changed"),
        ("The parser reads a file.", ""),
    ],
)
def test_an_answer_that_claims_changes_is_contradicted(answer: str, line: str) -> None:
    work = WorkDone()
    work.note(_event(RunDone(final_message=answer), "run.r1"))
    assert work.line() == line


def test_without_a_checkpoint_nothing_is_claimed() -> None:
    work = WorkDone()
    work.note(_event(WorkspaceCheckpointed(moment="before", workspace="/w", problem="git is not installed")))
    assert work.line() == "changes were not counted: git is not installed"
