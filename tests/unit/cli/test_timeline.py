"""The waterfall of a run, from its events."""

from __future__ import annotations

from typing import Any

from syntor.cli.timeline import BAR_WIDTH, build_spans, render


def _event(position: int, second: float, type_: str, subject: str = "task.r1.t1", **data: Any) -> dict[str, Any]:
    time = f"2026-11-21T00:00:{second:06.3f}Z"
    return {"position": position, "time": time, "type": type_, "subject": subject, "data": data}


EVENTS = [
    _event(1, 0, "user_input", "run.r1", agent="git"),
    _event(3, 1, "agent_invoke_started", agent="git", instance="i"),
    _event(4, 1, "llm_call_started", call=1, provider="p", model="m"),
    _event(5, 3, "llm_call_done", call=1, usage={"input_tokens": 7, "output_tokens": 2}, first_token_s=0.5),
    _event(6, 3, "tool_call_created", call_id="c1_1", name="glob"),
    _event(7, 4, "tool_result", call_id="c1_1", content="abc"),
    _event(8, 4, "llm_call_started", call=2, provider="p", model="m"),
]
RUN = {
    "run_id": "r1", "input": "hello\nmore", "status": "running", "llm_calls": 1, "tool_calls": 1, "session_id": "s1",
    "correlation_id": "c1", "usage": {"input_tokens": 7, "output_tokens": 2},
}  # fmt: skip


def test_spans_have_their_times_positions_and_notes() -> None:
    agent, call, tool, open_call = build_spans(EVENTS)
    assert (agent.name, agent.start_s, agent.end_s, agent.note) == ("git", 1.0, 4.0, "still going")
    assert (call.start_s, call.end_s, call.first, call.last) == (1.0, 3.0, 4, 5)
    assert call.note == "7 + 2 tokens, first word after 0.50 s"
    assert (tool.name, tool.note, tool.depth) == ("glob", "3 characters", 1)
    assert open_call.note == "still going"
    assert build_spans([]) == []


def test_bars_fit_their_width_and_the_head_says_how_it_went() -> None:
    text = render(RUN, EVENTS)
    lines = text.splitlines()
    assert lines[0] == "run r1  'hello'"
    assert "running after 4.00 s · 1 model calls · 1 tool calls · 9 tokens" in lines[1]
    bars = [line for line in lines if "█" in line]
    assert len(bars) == 4
    assert all(1 <= line.count("█") <= BAR_WIDTH for line in bars)
