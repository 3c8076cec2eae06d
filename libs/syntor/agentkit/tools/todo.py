"""The tool that keeps a list of what is to be done: todo. Clients can show the list from the call's arguments."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.tools.tool import Tool, ToolRun

_SIGNS = {"pending": "[ ]", "in_progress": "[>]", "done": "[x]", "cancelled": "[-]"}


class TodoItem(msgspec.Struct, frozen=True):
    """One thing to do."""

    text: Annotated[str, Meta(min_length=1, max_length=500, description="What is to be done, in a few words")]
    state: Annotated[
        Literal["pending", "in_progress", "done", "cancelled"], Meta(description="At most one is in_progress")
    ] = "pending"


class Todo(msgspec.Struct, frozen=True):
    """Arguments of todo."""

    items: Annotated[
        list[TodoItem], Meta(max_length=50, description="The whole list, in order; it replaces the last one")
    ]


async def todo(run: ToolRun, arguments: Todo) -> str:
    """Return the list as text."""
    if sum(item.state == "in_progress" for item in arguments.items) > 1:
        raise ToolError("more than one item is in_progress; finish one before the next")
    lines = [f"{_SIGNS[item.state]} {item.text}" for item in arguments.items]
    left = sum(item.state in ("pending", "in_progress") for item in arguments.items)
    return "\n".join([*lines, f"{left} left" if left else "all done"])


TODO_TOOLS = (
    Tool(
        name="todo",
        description="Keep a list of the steps of longer work, and show the user where it stands.",
        arguments=Todo,
        run=todo,
        paths=lambda arguments: [],
        effect="read",
        repeatable=True,
    ),
)
