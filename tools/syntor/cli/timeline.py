"""A run as a waterfall in text: pure, from its events only."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

Json = dict[str, Any]
BAR_WIDTH = 40


class Span(msgspec.Struct):
    """Something that took time."""

    name: str
    start_s: float
    end_s: float
    note: str
    depth: int
    first: int
    """Position of its first event."""
    last: int


def build_spans(events: list[Json]) -> list[Span]:
    """Return what took time in a run, in the order it began; times are seconds from the first event."""
    if not events:
        return []
    zero = _time(events[0])
    spans: list[Span] = []
    open_spans: dict[str, Span] = {}

    def begin(key: str, event: Json, name: str, depth: int) -> None:
        at = (_time(event) - zero).total_seconds()
        span = Span(name, at, at, "", depth, event["position"], event["position"])
        spans.append(span)
        open_spans[key] = span

    def end(key: str, event: Json, note: str) -> None:
        span = open_spans.pop(key, None)
        if span is not None:
            span.end_s = max(span.start_s, (_time(event) - zero).total_seconds())
            span.note, span.last = note, event["position"]

    tasks: dict[str, Json] = {}

    def depth(subject: str) -> int:
        """Return how far in a task's lines stand: two for each task above it."""
        parent, above = tasks.get(_task(subject), {}).get("parent_task_id", ""), 0
        while parent and above < len(tasks):
            parent, above = tasks.get(parent, {}).get("parent_task_id", ""), above + 1
        return 2 * above

    for event in events:
        data: Json = event.get("data") or {}
        task: str = event["subject"]
        match event["type"]:
            case "task_assigned" if not data.get("resume"):
                tasks[data["task_id"]] = data
            case "agent_invoke_started":
                about = tasks.get(_task(task), {})
                step = f" [{about['step']}]" if about.get("step") else ""
                begin(task, event, data["agent"] + step, depth(task))
            case "agent_invoke_paused":
                end(task, event, f"waits for {_waits(data)}")
            case "agent_invoke_done":
                end(
                    task, event, f"done, {data.get('llm_calls', 0)} model calls, {data.get('tool_calls', 0)} tool calls"
                )
            case "agent_invoke_failed":
                end(task, event, f"failed: {data['code']}")
            case "llm_call_started":
                begin(f"{task} {data['call']}", event, f"{data['provider']}/{data['model']}", depth(task) + 1)
            case "llm_call_done":
                usage: Json = data.get("usage", {})
                tokens = f"{usage.get('input_tokens', 0)} + {usage.get('output_tokens', 0)} tokens"
                first = data.get("first_token_s")
                waited = f", first word after {first:.2f} s" if first is not None else ""
                end(f"{task} {data['call']}", event, tokens + waited)
            case "llm_call_failed":
                end(f"{task} {data['call']}", event, f"failed: {data['code']}")
            case "tool_call_created":
                begin(f"{task} {data['call_id']}", event, data["name"], depth(task) + 1)
            case "tool_result":
                size = f"{len(data.get('content', ''))} characters"
                end(f"{task} {data['call_id']}", event, "refused or failed" if data.get("is_error") else size)
            case _:
                continue
    last = (_time(events[-1]) - zero).total_seconds()
    for span in open_spans.values():
        span.end_s, span.note = max(last, span.start_s), "still going" if not span.note else span.note
    return spans


def _progress(run: Json) -> str:
    steps = run.get("steps", 0)
    return f" · {run['steps_over']} of {steps} steps, {100 * run['steps_over'] // steps}%" if steps else ""


def render(run: Json, events: list[Json]) -> str:
    """Return the timeline of a run."""
    spans = build_spans(events)
    total_s = max((span.end_s for span in spans), default=0.0)
    usage: Json = run.get("usage", {})
    tokens = usage.get("input_tokens", 0) + usage.get("output_tokens", 0)
    title = (run["input"].strip().splitlines() or [""])[0][:60]
    head = [
        f"run {run['run_id']}  {title!r}",
        f"{run['status']} after {total_s:.2f} s · {run['llm_calls']} model calls · {run['tool_calls']} tool calls · "
        f"{tokens} tokens · ${usage.get('cost_microusd', 0) / 1e6:.4f} · {len(events)} events",
        f"session {run['session_id']} · trace {run['correlation_id']}" + _progress(run),
        "",
    ]
    width = max((len(span.name) + 2 * span.depth for span in spans), default=0)
    lines = [_line(span, total_s, width) for span in spans]
    if run["status"] == "failed":
        lines += ["", f"failed: {run['error_message']} ({run['error_code']})"]
    return "\n".join(head + lines)


def _task(subject: str) -> str:
    """Return the task of the subject `task.<run>.<task>`."""
    return subject.rpartition(".")[2]


def _waits(data: Json) -> str:
    counted: dict[str, int] = {}
    for wait in data["waits"]:
        counted[wait["kind"]] = counted.get(wait["kind"], 0) + 1
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


def _time(event: Json) -> datetime:
    return datetime.fromisoformat(event["time"])
