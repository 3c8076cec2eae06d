"""A run as text on a terminal: the answer as it comes, and on standard error what happens beside it."""

from __future__ import annotations

import sys
from typing import Any

from syntor.cli.markdown_stream import MarkdownStream

Json = dict[str, Any]
_LINE = 100  # characters of a tool call that are shown
_ROOT = "t1"
_SHOWN_ARGUMENTS = ("command", "path", "pattern", "url", "agent", "summary", "message", "branch", "paths")


def task_of(event: Json) -> str:
    """Return the task an event is of; empty: the run itself."""
    parts = str(event.get("subject", "")).split(".")
    return parts[2] if len(parts) > 2 and parts[0] in ("task", "output") else ""


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
    return f"{name}({text[:_LINE]}{'…' if len(text) > _LINE else ''})"


class StatusLine:
    """One line on standard error that is written over and over, on a terminal; else nothing."""

    def __init__(self) -> None:
        self._shown = False
        self.terminal = sys.stderr.isatty()

    def show(self, text: str) -> None:
        """Show a text instead of the one before."""
        if self.terminal:
            sys.stderr.write(f"\r\x1b[K{text[:120]}")
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

    def __init__(self, markdown: MarkdownStream) -> None:
        self._markdown = markdown
        self._status = StatusLine()
        self._spoke = False
        self._answering = _ROOT
        self._agents: dict[str, str] = {}
        self._calls: dict[tuple[str, str], str] = {}
        self._noted = False
        self._call = 0

    def pause(self) -> None:
        """Finish the line, so that something else can be written."""
        self._status.clear()
        self._markdown.pause()

    def close(self) -> None:
        """Show the rest."""
        self._status.clear()
        self._markdown.close()

    def show(self, event: Json) -> None:
        """Show one event."""
        data: Json = event.get("data") or {}
        task = task_of(event)
        match event["type"]:
            case "agent_stream_delta" if task == self._answering:
                self._status.clear()
                if self._call and data["call"] != self._call:
                    self._markdown.feed("\n\n")
                self._call = data["call"]
                self._markdown.feed(data["text"])
                self._spoke = True
            case "agent_progress":
                fraction = data.get("fraction")
                self._status.show(data["message"] + (f"  {fraction:.0%}" if fraction is not None else ""))
            case "agent_invoke_started":
                self._sandbox(data)
            case "task_assigned":
                self._assigned(data)
            case "llm_call_started" if not self._spoke or task != self._answering:
                self._status.show(f"{self._who(task)}{data['provider']}/{data['model']} ...")
            case "llm_call_done":
                for call in data.get("tool_calls", []):
                    self._calls[task, call["id"]] = describe_call(call["name"], call.get("arguments", ""))
            case "tool_call_created":
                call = self._calls.get((task, data["call_id"]), data["name"])
                self._line(f"{self._who(task)}{call}")
            case "tool_result" if data.get("is_error"):
                self._line(f"  ! {' '.join(data['content'].split())[:_LINE]}")
            case "delegation_refused" | "step_skipped" | "task_timed_out":
                self._line(f"  ! {data['message']}")
            case "agent_invoke_done" if task != self._answering:
                self._line(f"✓ {self._who(task).rstrip(': ')}")
            case "run_done" if not self._spoke:
                self._status.clear()
                self._markdown.feed(data.get("final_message", ""))
            case _:
                pass

    def _who(self, task: str) -> str:
        return "" if task == self._answering else f"{self._agents.get(task, task)}: "

    def _assigned(self, data: Json) -> None:
        task = data["task_id"]
        if data.get("resume") or task in self._agents:
            return
        step = f" [{data['step']}]" if data.get("step") else ""
        self._agents[task] = f"{data['agent']}{step}"
        if data.get("handoff_from"):
            self._answering, self._spoke, self._call = task, False, 0
            self._line(f"→ handed over to {data['agent']}")
        elif data.get("parent_task_id"):
            what = " ".join(data.get("instruction", "").split())[:_LINE]
            self._line(f"→ {self._agents[task]}: {what}")

    def _sandbox(self, data: Json) -> None:
        """Say once when commands run without a sandbox."""
        if data.get("sandbox", "").startswith("limits") and not self._noted:
            self._noted = True
            self.pause()
            why = data["sandbox"].partition(": ")[2]
            sys.stderr.write(f"note: commands run with resource limits only, without a sandbox: {why}\n")

    def _line(self, text: str) -> None:
        if not self._status.terminal:
            return
        self.pause()
        sys.stderr.write(f"\x1b[2m{text}\x1b[0m\n")
        sys.stderr.flush()
