"""What a tool is, and what it is run with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import msgspec

from syntor.agentkit.domain.question import Question, Response
from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.tools.sandbox import Sandbox
from syntor.contracts.vocabulary import ToolEffect

MAX_OUTPUT_CHARACTERS = 20_000


async def _ask_no_one(question: Question) -> Response:
    raise ToolError("no person can be asked here")


class ToolRun(msgspec.Struct, frozen=True):
    """Environment of one call."""

    workspace: Path
    """Folder it works in."""
    sandbox: Sandbox
    """Where it runs programs."""
    key: str
    """`<run_id>.<task_id>.<call_id>`: the same for the same call, to make an effect once."""
    ask: Callable[[Question], Awaitable[Response]] = _ask_no_one
    """Asks a person. A question that is open raises QuestionPendingError, which must pass through the tool: the task
    is suspended, and the tool is run again from its beginning once there is a response."""


def _no_preview(workspace: Path, arguments: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(arguments), indent=2).decode()


def _no_text(arguments: Any) -> str:
    return ""


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """One tool."""

    name: str
    description: str
    arguments: type[msgspec.Struct] | None
    """Struct its arguments are decoded to; None: a dict that follows `schema`."""
    schema: dict[str, Any] | None = None
    """JSON schema of its arguments, where they are a dict."""
    run: Callable[[ToolRun, Any], Awaitable[str]]
    """Runs it; raises ToolError."""
    paths: Callable[[Any], list[str]]
    """Paths its arguments name, for the policy to judge."""
    effect: ToolEffect
    """What it does: reads or writes files of the workspace, executes commands, uses the network, delegates to
    agents, or runs at the client."""
    repeatable: bool
    """Whether it may be run again when the outcome of a run is unknown."""
    preview: Callable[[Path, Any], str] = _no_preview
    """What would happen, for the person who approves: a command, a diff. Raises ToolError where the call cannot work;
    then the model is told and no person is asked. Runs in a thread."""
    subject: Callable[[Any], str] = _no_text
    """What permission rules match: the command of bash, the path of a file, the URL of a request."""
    risk: Callable[[Any], str] = _no_text
    """Why a call needs approval in every mode; empty: its effect decides."""

    def parameters(self) -> dict[str, Any]:
        """Return the JSON schema of its arguments, without references."""
        if self.arguments is None:
            return self.schema or {"type": "object", "properties": {}}
        (schema,), definitions = msgspec.json.schema_components([self.arguments])
        return _inlined(definitions.get(self.arguments.__name__, schema), definitions)


def _inlined(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Return a schema of an object with the schemas it refers to in it, without titles and descriptions of types."""

    def part(value: Any) -> Any:
        match value:
            case {"$ref": str(name)}:
                return _inlined(definitions[name.rsplit("/", 1)[-1]], definitions)
            case dict():
                return {key: part(each) for key, each in cast("dict[str, Any]", value).items()}
            case list():
                return [part(each) for each in cast("list[object]", value)]
            case _:
                return value

    return {key: part(value) for key, value in schema.items() if key not in ("title", "description")}


def bounded(text: str) -> str:
    """Return text cut in the middle to the most a model gets, with a note of what was left out."""
    if len(text) <= MAX_OUTPUT_CHARACTERS:
        return text
    half = MAX_OUTPUT_CHARACTERS // 2
    return f"{text[:half]}\n... {len(text) - 2 * half} characters were left out ...\n{text[-half:]}"
