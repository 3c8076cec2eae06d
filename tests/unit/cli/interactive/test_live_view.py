"""What stands above the input line fits on the terminal, says what happens, and hides nothing."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from syntor.cli.event import Event
from syntor.cli.interactive.live_view import Size, live_view, seconds
from syntor.cli.interactive.loop import whole_parts
from syntor.cli.interactive.run_progress import RunProgress, Todo, todos_of
from syntor.contracts.output.v1 import AgentProgress, AgentStreamDelta
from syntor.contracts.run.v1 import TaskAssigned
from syntor.contracts.task.v1 import (
    AgentInvokeDone,
    AgentInvokeStarted,
    LlmCallDone,
    LlmCallStarted,
    ToolCall,
    ToolDispatched,
    Usage,
)

SIZE = Size(80, 24)


def _event(body: msgspec.Struct, task: str = "t1") -> Event:
    category = "output" if isinstance(body, AgentProgress | AgentStreamDelta) else "task"
    return Event(position=1, type="x", subject=f"{category}.r1.{task}", time=None, body=body)


def _progress(*bodies: msgspec.Struct) -> RunProgress:
    progress = RunProgress(0.0)
    for body in bodies:
        progress.note(_event(body), 1.0)
    return progress


def _text(progress: RunProgress, now: float = 3.0, **more: str) -> str:
    return "".join(text for _, text in live_view(progress, now=now, size=SIZE, **more))


def test_each_phase_is_named_with_its_time() -> None:
    started = (AgentInvokeStarted(agent="worker", instance="i"), LlmCallStarted(call=1, provider="p", model="m"))
    assert "p/m: reading the prompt, 0 messages, 2 s · 3 s in all" in _text(_progress(*started))
    loading = AgentProgress(message="qwen: loading, 986 MB", fraction=0.5)
    assert "qwen: loading, 986 MB 50%, 2 s" in _text(_progress(*started, loading))
    written = AgentStreamDelta(call=1, index=0, text="x" * 400)
    assert "writing, 100 tokens, 50 tokens/s" in _text(_progress(*started, loading, written))


def test_a_tool_that_runs_is_named_with_its_command() -> None:
    call = ToolCall(id="c1", name="bash", arguments='{"command": "make"}')
    done = LlmCallDone(call=1, tool_calls=[call], usage=Usage(input_tokens=10, output_tokens=5))
    shown = _text(_progress(done, ToolDispatched(call_id="c1")))
    assert "running bash(make)" in shown
    assert "15 tokens" in shown


def test_agents_below_are_a_tree() -> None:
    progress = _progress(AgentInvokeStarted(agent="coordination", instance="i"))
    for task, parent in (("t1-a", "t1"), ("t1-b", "t1-a")):
        assigned = TaskAssigned(task_id=task, agent=f"agent-{task[-1]}", queue="q", parent_task_id=parent)
        progress.note(Event(position=1, type="x", subject="run.r1", time=None, body=assigned), 1.0)
    progress.note(_event(AgentInvokeDone(final_message=""), "t1-b"), 2.0)
    assert "  └ agent-a: waiting, 2 s\n    └ ✓ agent-b, 1 s\n" in _text(progress)


@pytest.mark.parametrize(
    "arguments",
    ['{"items": [{"text": "a", "status": "done"}, {"text": "b", "status": "in_progress"}]}', '{"todos": ["a"]}'],
)
def test_a_to_do_list_is_read_from_the_call(arguments: str) -> None:
    todos = todos_of(ToolCall(id="c", name="todo", arguments=arguments))
    assert todos[0].text == "a"
    progress = RunProgress(0.0)
    progress.todos = [Todo("read", "done"), Todo("write", "in_progress")]
    assert "To do: 1 of 2 done\n  ✓ read\n  ▸ write\n" in _text(progress)


@given(st.text(max_size=300), st.lists(st.text(max_size=200), max_size=9), st.integers(20, 200), st.integers(6, 60))
def test_no_line_is_too_wide_and_the_view_leaves_room(text: str, queued: list[str], columns: int, rows: int) -> None:
    progress = _progress(AgentProgress(message=text[:500]))
    lines = live_view(progress, now=5.0, size=Size(columns, rows), open_text=text * 5, queued=queued)
    assert len(lines) <= max(rows - 5, 1)
    for _, line in lines:
        assert line.endswith("\n")
        assert "\n" not in line[:-1]
        assert "\x1b" not in line
        assert cell_len(line[:-1]) < columns


def test_durations_and_whole_parts() -> None:
    assert (seconds(59.9), seconds(61)) == ("59 s", "1 min 01 s")
    assert whole_parts(["ask", "", "worker", "run 0123456789"], 15) == "ask · worker"
