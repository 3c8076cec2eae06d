"""What a run does now, from its events only: the phase of its model call, its to-do list, the agents under it."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import msgspec

from syntor.cli.event import Event
from syntor.cli.run_text import describe_call
from syntor.contracts.decoding import UNDECODABLE
from syntor.contracts.output.v1 import AgentProgress, AgentStreamDelta
from syntor.contracts.run.v1 import TaskAssigned
from syntor.contracts.task.v1 import (
    AgentInvokeDone,
    AgentInvokeFailed,
    AgentInvokePaused,
    AgentInvokeStarted,
    LlmCallDone,
    LlmCallStarted,
    ToolCall,
    ToolDispatched,
    ToolResult,
)

ROOT = "t1"
_CHARACTERS_PER_TOKEN = 4  # of English and code; the exact number comes with the end of the call
_TODO_TOOLS = ("todo", "todos", "todo_write", "update_todos")
_TODO_LISTS = ("items", "todos", "list")
_TODO_TEXTS = ("text", "content", "title", "task")


class Todo(NamedTuple):
    """An item of the agent's to-do list."""

    text: str
    state: str
    """pending, in_progress or done."""


class AgentRow(msgspec.Struct):
    """A task of the run and what it does now."""

    agent: str
    parent: str
    began: float
    doing: str = "waiting"
    since: float = 0.0
    ended: float = 0.0
    """0: not ended."""
    failed: bool = False
    calls: dict[str, str] = {}
    """Tool calls of its last completion, by id."""


class RunProgress:
    """The state of one run that is followed; times are seconds of any one clock."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.rows: dict[str, AgentRow] = {}
        self.todos: list[Todo] = []
        self.responding = ROOT
        self.tokens = 0
        """Tokens of the calls that ended."""
        self._written = 0
        self._writing_since = 0.0

    def note(self, event: Event, now: float) -> None:
        """Take in one event."""
        task = event.task_id
        match event.body:
            case TaskAssigned(resume=0) as assigned:
                self._assigned(assigned, now)
            case AgentInvokeStarted(agent=agent):
                self._row(task, now).agent = agent
                self._does(task, "starting", now)
            case LlmCallStarted(message_count=count, provider=provider, model=model):
                self._written, self._writing_since = 0, 0.0
                self._does(task, f"{provider}/{model}: reading the prompt, {count} messages", now)
            case AgentProgress(message=message, fraction=fraction):
                self._does(task, message + (f" {fraction:.0%}" if fraction is not None else ""), now)
            case AgentStreamDelta(text=text):
                self._wrote(task, text, now)
            case LlmCallDone() as done:
                self._completed(task, done, now)
            case ToolDispatched(call_id=call_id):
                self._does(task, f"running {self._row(task, now).calls.get(call_id, 'a tool')}", now)
            case ToolResult():
                self._does(task, "thinking", now)
            case AgentInvokePaused(waits=waits):
                kinds = sorted({wait.kind for wait in waits})
                self._does(task, f"waiting for {', '.join(kinds)}", now)
            case AgentInvokeDone() | AgentInvokeFailed() as end:
                row = self._row(task, now)
                row.ended, row.failed = now, isinstance(end, AgentInvokeFailed)
            case _:
                return

    def doing(self) -> tuple[str, float]:
        """Return what the responding agent does, and since when."""
        row = self.rows.get(self.responding)
        return (row.doing, row.since) if row is not None else ("waiting for an agent", self.began)

    def writing(self, now: float) -> tuple[int, float] | None:
        """Return the tokens of the open completion, about, and tokens a second; None when none is written."""
        if not self._written or self.doing()[0] != "writing":
            return None
        tokens = max(1, self._written // _CHARACTERS_PER_TOKEN)
        return tokens, tokens / max(now - self._writing_since, 0.5)

    def below(self) -> list[tuple[int, AgentRow]]:
        """Return the agents under the responding one, each after its parent, with its depth from 1."""
        found: list[tuple[int, AgentRow]] = []

        def walk(parent: str, depth: int) -> None:
            for task, row in self.rows.items():
                if row.parent == parent and task != parent and depth <= len(self.rows):
                    found.append((depth, row))
                    walk(task, depth + 1)

        walk(self.responding, 1)
        return found

    def _row(self, task: str, now: float) -> AgentRow:
        return self.rows.setdefault(task, AgentRow(agent=task, parent="", began=now, since=now))

    def _does(self, task: str, what: str, now: float) -> None:
        row = self._row(task, now)
        if row.doing != what:
            row.doing, row.since = what, now

    def _assigned(self, assigned: TaskAssigned, now: float) -> None:
        if assigned.handoff_from:
            self.responding = assigned.task_id
        row = self._row(assigned.task_id, now)
        row.agent, row.parent, row.ended = assigned.agent, assigned.parent_task_id, 0.0

    def _wrote(self, task: str, text: str, now: float) -> None:
        self._does(task, "writing", now)
        if task == self.responding:
            self._writing_since = self._writing_since or now
            self._written += len(text)

    def _completed(self, task: str, done: LlmCallDone, now: float) -> None:
        self.tokens += done.usage.input_tokens + done.usage.output_tokens
        row = self._row(task, now)
        row.calls = {each.id: describe_call(each.name, each.arguments) for each in done.tool_calls}
        for each in done.tool_calls:
            self.todos = todos_of(each) or self.todos
        self._does(task, "thinking", now)


def todos_of(call: ToolCall) -> list[Todo]:
    """Return the to-do list a tool call writes; empty: it writes none."""
    if call.name not in _TODO_TOOLS:
        return []
    try:
        given = msgspec.json.decode(call.arguments or "{}", type=dict[str, Any])
    except UNDECODABLE:
        return []
    lists = (given[name] for name in _TODO_LISTS if isinstance(given.get(name), list))
    return [_todo(item) for item in cast("list[object]", next(lists, None) or [])]


def _todo(item: object) -> Todo:
    if not isinstance(item, dict):
        return Todo(str(item), "pending")
    item = cast("dict[str, Any]", item)
    text = next((str(item[name]) for name in _TODO_TEXTS if item.get(name)), "")
    state = str(item.get("status") or item.get("state") or "pending")
    finished = item.get("done") is True or state in ("done", "completed")
    return Todo(text, "done" if finished else state)
