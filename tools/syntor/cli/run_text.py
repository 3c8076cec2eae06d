"""A run as text on a terminal: the response as it is streamed, and progress on standard error."""

from __future__ import annotations

import shutil
import sys
from typing import Any

from syntor.cli.event import Event
from syntor.cli.markdown_stream import MarkdownStream
from syntor.cli.terminal_style import dim
from syntor.cli.work_done import WorkDone
from syntor.contracts.output.v1 import AgentProgress, AgentStreamDelta
from syntor.contracts.run.v1 import DelegationRefused, RunDone, StepSkipped, TaskAssigned, TaskTimedOut, UserInput
from syntor.contracts.task.v1 import (
    AgentInvokeDone,
    AgentInvokeStarted,
    LlmCallDone,
    LlmCallStarted,
    PolicyDecision,
    ToolCallCreated,
    ToolRequest,
    ToolResult,
)
from syntor.contracts.visible_text import visible, visible_line
from syntor.contracts.vocabulary import FinishReason

_LINE = 100  # characters of a tool call that are shown
_ROOT = "t1"
_EXCERPT_LINES = 4  # of a tool's output
_KEPT_OUTPUTS = 50
_CUT: dict[FinishReason, str] = {
    "length": "the answer is cut: the model reached its limit of output tokens; ask it to continue",
    "content_filter": "the answer is cut: the provider's content filter withheld the rest",
}
_SHOWN_ARGUMENTS = ("command", "path", "pattern", "url", "agent", "summary", "message", "branch", "paths")


def describe_call(name: str, arguments: str) -> str:
    """Return a tool call on one line: its name and the argument that matters."""
    import msgspec

    from syntor.contracts.decoding import UNDECODABLE

    try:
        given = msgspec.json.decode(arguments or "{}", type=dict[str, Any])
    except UNDECODABLE:
        return name
    value: Any = next((given[key] for key in _SHOWN_ARGUMENTS if given.get(key)), "")
    words = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    text = " ".join(words.split())
    return visible(f"{name}({text[:_LINE]}{'…' if len(text) > _LINE else ''})")


class StatusLine:
    """One line on standard error that replaces itself; without a terminal nothing is written."""

    def __init__(self) -> None:
        self._shown = False
        self.terminal = sys.stderr.isatty()

    def show(self, text: str) -> None:
        """Replace the text."""
        if self.terminal:
            columns = shutil.get_terminal_size().columns
            sys.stderr.write(f"\r\x1b[K{visible_line(text, 400)[: columns - 1]}")
            sys.stderr.flush()
            self._shown = True

    def clear(self) -> None:
        """Remove it."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._shown = False


class RunText:
    """Shows the events of one run, in order."""

    def __init__(self, markdown: MarkdownStream, *, status: bool = True, of_others: bool = False) -> None:
        """Prepare.

        Args:
            status: show what happens on a line of its own; False: something else does.
            of_others: whether another terminal started the run; then its input is shown too.
        """
        self._markdown = markdown
        self._status = StatusLine()
        self._terminal = self._status.terminal
        self._status.terminal = self._terminal and status
        self._of_others = of_others
        self._open_calls: dict[tuple[str, str], str] = {}
        """Calls that are not shown yet: who requires no approval is shown when it is decided."""
        self.outputs: list[tuple[str, str]] = []
        """The newest tool calls and their whole outputs."""
        self._streamed = False
        self._responding = _ROOT
        self._agents: dict[str, str] = {}
        self._calls: dict[tuple[str, str], str] = {}
        self._noted = False
        self._work = WorkDone()
        self._call = 0

    def pause(self) -> None:
        """End the current line so that other output can be written."""
        self._status.clear()
        self._markdown.pause()

    def close(self) -> None:
        """Print the buffered rest, and what was done."""
        self._status.clear()
        self._markdown.close()
        if line := self._work.line():
            sys.stderr.write(f"{dim(visible(line))}\n")

    def show(self, event: Event) -> None:
        """Show one event."""
        self._work.note(event)
        task = event.task_id
        responding = task == self._responding
        match event.body:
            case AgentStreamDelta(call=call, text=text) if responding:
                self._delta(call, text)
            case AgentProgress(message=message, fraction=fraction):
                self._status.show(message + (f"  {fraction:.0%}" if fraction is not None else ""))
            case AgentInvokeStarted(sandbox=sandbox):
                self._sandbox(sandbox)
            case TaskAssigned() as assigned:
                self._assigned(assigned)
            case LlmCallStarted(provider=provider, model=model) if not self._streamed or not responding:
                self._status.show(f"{self._who(task)}{provider}/{model} ...")
            case LlmCallDone(tool_calls=tool_calls):
                for each in tool_calls:
                    self._calls[task, each.id] = describe_call(each.name, each.arguments)
            case ToolCallCreated(call_id=call_id, name=name):
                self._open_calls[task, call_id] = f"{self._who(task)}{self._calls.get((task, call_id), name)}"
            case PolicyDecision(call_id=call_id, decision="require_approval"):
                self._open_calls.pop((task, call_id), None)  # the approval shows it whole
            case PolicyDecision(call_id=call_id) | ToolRequest(call_id=call_id):
                self._call_line(task, call_id)
            case ToolResult() as result:
                self._result(task, result)
            case UserInput(content=content) if self._of_others:
                self._line(f"> {content}")
            case DelegationRefused(message=message) | StepSkipped(message=message) | TaskTimedOut(message=message):
                self._line(f"  ! {message}")
            case AgentInvokeDone() if not responding:
                self._line(f"✓ {self._who(task).rstrip(': ')}")
            case RunDone(final_message=message, finish_reason=reason):
                self._done(message, reason)
            case _:
                return

    def _call_line(self, task: str, call_id: str) -> None:
        if line := self._open_calls.pop((task, call_id), ""):
            self._line(line)

    def _result(self, task: str, result: ToolResult) -> None:
        """Show the beginning of a tool's output; the whole is kept in `outputs`."""
        self._call_line(task, result.call_id)
        if result.is_error:
            self._line(f"  ! {_one_line(result.content)}")
        else:
            self._line(excerpt(result.content))
        called = f"{self._who(task)}{self._calls.get((task, result.call_id), '')}"
        self.outputs = [*self.outputs[1 - _KEPT_OUTPUTS :], (called, result.content)]

    def _done(self, message: str, reason: FinishReason) -> None:
        """Show the answer unless it was streamed, and say when it is not whole."""
        self._status.clear()
        if not self._streamed:
            self._markdown.feed(message)
        if note := _CUT.get(reason):
            self.pause()
            sys.stderr.write(f"\nnote: {note}\n")

    def _delta(self, call: int, text: str) -> None:
        self._status.clear()
        if self._call and call != self._call:
            self._markdown.feed("\n\n")
        self._call, self._streamed = call, True
        self._markdown.feed(text)

    def _who(self, task: str) -> str:
        return "" if task == self._responding else f"{self._agents.get(task, task)}: "

    def _assigned(self, assigned: TaskAssigned) -> None:
        task = assigned.task_id
        if assigned.resume or task in self._agents:
            return
        step = f" [{assigned.step}]" if assigned.step else ""
        self._agents[task] = f"{assigned.agent}{step}"
        if assigned.handoff_from:
            self._responding, self._streamed, self._call = task, False, 0
            self._line(f"→ handed over to {assigned.agent}")
        elif assigned.parent_task_id:
            self._line(f"→ {self._agents[task]}: {_one_line(assigned.instruction)}")

    def _sandbox(self, sandbox: str) -> None:
        """Print a note, once, when commands run without a sandbox."""
        if sandbox.startswith("limits") and not self._noted:
            self._noted = True
            self.pause()
            why = sandbox.partition(": ")[2]
            sys.stderr.write(f"note: commands run with resource limits only, without a sandbox: {why}\n")

    def _line(self, text: str) -> None:
        if not self._terminal or not text:
            return
        self.pause()
        sys.stderr.write(f"{dim(visible(text))}\n")
        sys.stderr.flush()


def excerpt(content: str) -> str:
    """Return the first lines of a tool's output, indented, and how many there are more."""
    lines = content.strip("\n").split("\n") if content.strip() else []
    shown = [f"  │ {line[:_LINE]}{'…' if len(line) > _LINE else ''}" for line in lines[:_EXCERPT_LINES]]
    left = len(lines) - len(shown)
    return "\n".join([*shown, *([f"  └ {left} more lines (Ctrl-O)"] if left else [])])


def _one_line(text: str) -> str:
    return " ".join(text.split())[:_LINE]
