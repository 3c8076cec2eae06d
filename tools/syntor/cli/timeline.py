"""Pure rendering of a run's timeline as a text waterfall, from its events only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import msgspec

from syntor.cli.event import Event
from syntor.cli.output import first_line
from syntor.contracts.rpc.v1 import RunView
from syntor.contracts.run.v1 import TaskAssigned
from syntor.contracts.task.v1 import (
    AgentInvokeDone,
    AgentInvokeFailed,
    AgentInvokePaused,
    AgentInvokeStarted,
    LlmCallDone,
    LlmCallFailed,
    LlmCallStarted,
    ToolCallCreated,
    ToolResult,
    Wait,
)
from syntor.contracts.visible_text import visible

BAR_WIDTH = 40


class Span(msgspec.Struct):
    """One bar of the timeline: a task, a model call or a tool call."""

    name: str
    start_s: float
    end_s: float
    note: str
    depth: int
    first: int
    """Position of its first event."""
    last: int


class _Builder:
    """Builds spans from the events of a run, in order."""

    def __init__(self, began_at: datetime) -> None:
        self.spans: list[Span] = []
        self._began_at = began_at
        self._open: dict[str, Span] = {}
        self._tasks: dict[str, TaskAssigned] = {}

    def add(self, event: Event) -> None:
        """Open or close the span an event is about."""
        task, subject = event.task_id, event.subject
        match event.body:
            case TaskAssigned(resume=0) as assigned:
                self._tasks[assigned.task_id] = assigned
            case AgentInvokeStarted(agent=agent):
                known = self._tasks.get(task)
                step = f" [{known.step}]" if known is not None and known.step else ""
                self._begin(subject, event, agent + step, self._depth(task))
            case AgentInvokePaused(waits=waits):
                self._end(subject, event, f"waits for {_waits(waits)}")
            case AgentInvokeDone(llm_calls=llm_calls, tool_calls=tool_calls):
                self._end(subject, event, f"done, {llm_calls} model calls, {tool_calls} tool calls")
            case AgentInvokeFailed(code=code):
                self._end(subject, event, f"failed: {code}")
            case LlmCallStarted(call=call, provider=provider, model=model):
                self._begin(f"{subject} {call}", event, f"{provider}/{model}", self._depth(task) + 1)
            case LlmCallDone(call=call) as done:
                self._end(f"{subject} {call}", event, _tokens(done))
            case LlmCallFailed(call=call, code=code):
                self._end(f"{subject} {call}", event, f"failed: {code}")
            case ToolCallCreated(call_id=call_id, name=name):
                self._begin(f"{subject} {call_id}", event, name, self._depth(task) + 1)
            case ToolResult(call_id=call_id, content=content, is_error=is_error):
                note = "refused or failed" if is_error else f"{len(content)} characters"
                self._end(f"{subject} {call_id}", event, note)
            case _:
                return

    def close(self, last: Event) -> None:
        """End the spans that are still open at the last event."""
        for span in self._open.values():
            span.end_s, span.note = max(self._seconds(last), span.start_s), span.note or "in progress"

    def _begin(self, key: str, event: Event, name: str, depth: int) -> None:
        at = self._seconds(event)
        self._open[key] = Span(name, at, at, "", depth, event.position, event.position)
        self.spans.append(self._open[key])

    def _end(self, key: str, event: Event, note: str) -> None:
        span = self._open.pop(key, None)
        if span is not None:
            span.end_s = max(span.start_s, self._seconds(event))
            span.note, span.last = note, event.position

    def _depth(self, task: str) -> int:
        """Return the indentation of a task: two for each task above it."""
        above = 0
        assigned = self._tasks.get(task)
        while assigned is not None and assigned.parent_task_id and above < len(self._tasks):
            assigned, above = self._tasks.get(assigned.parent_task_id), above + 1
        return 2 * above

    def _seconds(self, event: Event) -> float:
        return (event.time - self._began_at).total_seconds() if event.time is not None else 0.0


def build_spans(events: Sequence[Event]) -> list[Span]:
    """Return the spans of a run in the order they began; times are seconds from the first event."""
    if not events or events[0].time is None:
        return []
    builder = _Builder(events[0].time)
    for event in events:
        builder.add(event)
    builder.close(events[-1])
    return builder.spans


def render(run: RunView, events: Sequence[Event]) -> str:
    """Return the timeline of a run."""
    spans = build_spans(events)
    total_s = max((span.end_s for span in spans), default=0.0)
    tokens = run.usage.input_tokens + run.usage.output_tokens
    head = [
        f"run {run.run_id}  {first_line(run.input)!r}",
        f"{run.status} after {total_s:.2f} s · {run.llm_calls} model calls · {run.tool_calls} tool calls · "
        f"{tokens} tokens · ${run.usage.cost_microusd / 1e6:.4f} · {len(events)} events",
        f"session {run.session_id} · trace {run.correlation_id}" + _progress(run),
        "",
    ]
    width = max((len(span.name) + 2 * span.depth for span in spans), default=0)
    lines = [_line(span, total_s, width) for span in spans]
    if run.status == "failed":
        lines += ["", f"failed: {run.error_message} ({run.error_code})"]
    return visible("\n".join(head + lines))


def _progress(run: RunView) -> str:
    if not run.steps:
        return ""
    return f" · {run.steps_completed} of {run.steps} steps, {100 * run.steps_completed // run.steps}%"


def _tokens(done: LlmCallDone) -> str:
    first = f", first token after {done.first_token_s:.2f} s" if done.first_token_s is not None else ""
    return f"{done.usage.input_tokens} + {done.usage.output_tokens} tokens{first}"


def _waits(waits: Sequence[Wait]) -> str:
    counted = Counter(wait.kind for wait in waits)
    words = {"approval": "approval", "tool": "client tool", "task": "task"}
    return ", ".join(f"{number} {words[kind]}{'s' if number > 1 else ''}" for kind, number in counted.items())


def _line(span: Span, total_s: float, width: int) -> str:
    scale = BAR_WIDTH / total_s if total_s else 0.0
    start = min(BAR_WIDTH - 1, int(span.start_s * scale))
    length = max(1, min(BAR_WIDTH - start, round((span.end_s - span.start_s) * scale)))
    bar = " " * start + "█" * length + " " * (BAR_WIDTH - start - length)
    name = "  " * span.depth + span.name
    duration = f"{span.end_s - span.start_s:7.3f} s"
    return f"{span.start_s:7.3f} s  {name:<{width}}  {bar}  {duration}  {span.note}  [{span.first}-{span.last}]"
