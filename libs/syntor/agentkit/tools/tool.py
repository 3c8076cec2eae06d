"""What a tool is, and the error that tells the model why it did not work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

MAX_OUTPUT_CHARACTERS = 20_000


class ToolError(Exception):
    """A tool could not do what was asked; the text is for the model."""


class Tool(msgspec.Struct, frozen=True):
    """One tool."""

    name: str
    description: str
    arguments: type[msgspec.Struct]
    run: Callable[[Path, Any], Awaitable[str]]
    """Gets the workspace and the arguments; raises ToolError."""
    paths: Callable[[Any], list[str]]
    """Paths its arguments name, for the policy to judge."""

    def parameters(self) -> dict[str, Any]:
        """Return the JSON schema of its arguments, without references."""
        (schema,), definitions = msgspec.json.schema_components([self.arguments])
        named: dict[str, Any] = definitions.get(self.arguments.__name__, schema)
        return {key: value for key, value in named.items() if key not in ("title", "description")}


def bounded(text: str) -> str:
    """Return text cut to what a model can use, saying what was cut."""
    if len(text) <= MAX_OUTPUT_CHARACTERS:
        return text
    return f"{text[:MAX_OUTPUT_CHARACTERS]}\n... {len(text) - MAX_OUTPUT_CHARACTERS} more characters were cut"
