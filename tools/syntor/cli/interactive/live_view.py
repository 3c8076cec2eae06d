"""Pure rendering of what stands above the input line while a run is in progress; no line is too wide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size

from syntor.cli.interactive.run_progress import AgentRow, RunProgress, Todo
from syntor.contracts.visible_text import visible

Fragments = list[tuple[str, str]]
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_MARKS = {"done": "✓", "in_progress": "▸"}
_RESERVED = 5  # rows of input line, toolbar and completions
_MAX_TODOS, _MAX_AGENTS, _MAX_QUEUED = 6, 6, 3


class Size(NamedTuple):
    """A terminal."""

    columns: int
    rows: int


def live_view(
    progress: RunProgress, *, now: float, size: Size, open_text: str = "", queued: Sequence[str] = (), note: str = ""
) -> Fragments:
    """Return the lines above the input line as styled text, each ended by a line feed.

    Args:
        now: time on the clock of `progress`.
        open_text: the part of the response that is not printed yet; its end is shown.
        queued: messages typed meanwhile.
        note: why the run waits, if it does.
    """
    below = [
        *_agents(progress, now),
        *_todos(progress.todos),
        *_queued(queued),
        ("class:status", f"{_spinner(now)} {status(progress, now)}{f' · {note}' if note else ''}"),
    ]
    room = max(size.rows - _RESERVED - len(below), 0)
    tail = (
        [("", line) for line in visible(open_text).rstrip().split("\n")[-room:]] if room and open_text.strip() else []
    )
    return [
        (style, _fit(text, size.columns) + "\n") for style, text in [*tail, *below][-max(size.rows - _RESERVED, 1) :]
    ]


def status(progress: RunProgress, now: float) -> str:
    """Return what happens now, for how long, and how fast."""
    doing, since = progress.doing()
    parts = [visible(doing)]
    if written := progress.writing(now):
        parts[0] += f", {written[0]} tokens, {written[1]:.0f} tokens/s"
    elif now - since >= 1.0:
        parts[0] += f", {seconds(now - since)}"
    parts.append(f"{seconds(now - progress.began)} in all")
    if progress.tokens:
        parts.append(f"{progress.tokens} tokens")
    return " · ".join([*parts, "Esc cancels"])


def seconds(duration_s: float) -> str:
    """Return a duration for people."""
    whole = int(duration_s)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02} s"


def _agents(progress: RunProgress, now: float) -> Fragments:
    rows = progress.below()
    shown = rows[-_MAX_AGENTS:]
    more: Fragments = [("class:dim", f"  ({len(rows) - len(shown)} agents before)")] if len(rows) > len(shown) else []
    return more + [("class:dim", f"{'  ' * depth}└ {_agent(row, now)}") for depth, row in shown]


def _agent(row: AgentRow, now: float) -> str:
    name = visible(row.agent)
    if row.ended:
        return f"{'✗' if row.failed else '✓'} {name}, {seconds(row.ended - row.began)}"
    return f"{name}: {visible(row.doing)}, {seconds(now - row.since)}"


def _todos(todos: Sequence[Todo]) -> Fragments:
    if not todos:
        return []
    done = sum(todo.state == "done" for todo in todos)
    first = max(0, min(done - 1, len(todos) - _MAX_TODOS))
    shown = todos[first : first + _MAX_TODOS]
    lines: Fragments = [("class:dim", f"To do: {done} of {len(todos)} done")]
    for todo in shown:
        style = "class:dim" if todo.state == "done" else "bold" if todo.state == "in_progress" else ""
        lines.append((style, f"  {_MARKS.get(todo.state, '·')} {visible(todo.text)}"))
    return lines


def _queued(queued: Sequence[str]) -> Fragments:
    lines: Fragments = [("class:dim", f"queued: {visible(text)}") for text in queued[:_MAX_QUEUED]]
    if len(queued) > _MAX_QUEUED:
        lines.append(("class:dim", f"  ({len(queued) - _MAX_QUEUED} more)"))
    return lines + ([("class:dim", "  (Up on an empty line takes the last one back)")] if queued else [])


def _spinner(now: float) -> str:
    return _SPINNER[int(now * 8) % len(_SPINNER)]


def _fit(text: str, columns: int) -> str:
    line = " ".join(text.split("\n")).expandtabs(4)
    return line if cell_len(line) < columns else set_cell_size(line, columns - 2) + "…"
