"""The timeline of a run, from its events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from syntor.cli.event import Event
from syntor.cli.timeline import BAR_WIDTH, build_spans, render
from syntor.contracts.events import type_name
from syntor.contracts.rpc.v1 import RunView
from syntor.contracts.run.v1 import UserInput
from syntor.contracts.task.v1 import (
    AgentInvokeStarted,
    LlmCallDone,
    LlmCallStarted,
    ToolCallCreated,
    ToolResult,
    Usage,
)


def _event(position: int, second: float, body: msgspec.Struct, subject: str = "task.r1.t1") -> Event:
    time = datetime(2026, 11, 21, tzinfo=UTC) + timedelta(seconds=second)
    return Event(position=position, time=time, type=type_name(type(body)), subject=subject, body=body)


EVENTS = [
    _event(1, 0, UserInput(agent="git", queue="git", content="hello"), "run.r1"),
    _event(3, 1, AgentInvokeStarted(agent="git", instance="i")),
    _event(4, 1, LlmCallStarted(call=1, provider="p", model="m")),
    _event(5, 3, LlmCallDone(call=1, usage=Usage(input_tokens=7, output_tokens=2), first_token_s=0.5)),
    _event(6, 3, ToolCallCreated(call_id="c1_1", name="glob")),
    _event(7, 4, ToolResult(call_id="c1_1", content="abc")),
    _event(8, 4, LlmCallStarted(call=2, provider="p", model="m")),
]
RUN = RunView(
    run_id="r1", session_id="s1", agent="git", status="running", input="hello\nmore", final_message="", error_code="",
    error_message="", model="p/m", correlation_id="c1", metadata={}, created_at=datetime(2026, 11, 21, tzinfo=UTC),
    started_at=None, ended_at=None, usage=Usage(input_tokens=7, output_tokens=2), llm_calls=1, tool_calls=1,
    first_position=1, position=8,
)  # fmt: skip


def test_spans_have_their_times_positions_and_notes() -> None:
    agent, call, tool, open_call = build_spans(EVENTS)
    assert (agent.name, agent.start_s, agent.end_s, agent.note) == ("git", 1.0, 4.0, "in progress")
    assert (call.start_s, call.end_s, call.first, call.last) == (1.0, 3.0, 4, 5)
    assert call.note == "7 + 2 tokens, first token after 0.50 s"
    assert (tool.name, tool.note, tool.depth) == ("glob", "3 characters", 1)
    assert open_call.note == "in progress"
    assert build_spans([]) == []


def test_bars_fit_their_width_and_the_head_has_status_and_usage() -> None:
    text = render(RUN, EVENTS)
    lines = text.splitlines()
    assert lines[0] == "run r1  'hello'"
    assert "running after 4.00 s · 1 model calls · 1 tool calls · 9 tokens" in lines[1]
    bars = [line for line in lines if "█" in line]
    assert len(bars) == 4
    assert all(1 <= line.count("█") <= BAR_WIDTH for line in bars)
