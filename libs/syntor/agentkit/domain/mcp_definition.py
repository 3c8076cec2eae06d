"""What an MCP server says of its tools, bounded and made visible, and how it differs from what a person accepted."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, cast

import msgspec

from syntor.contracts.visible_text import visible

MAX_DESCRIPTION = 4000  # characters of a tool's description
MAX_SCHEMA = 64 * 1024  # bytes of a tool's schema
MAX_DEPTH = 24  # of a schema
MAX_TEXT = 1000  # characters of a text inside a schema
MAX_TOOLS = 256  # of one server
_TEXTS = frozenset({"title", "description", "$comment"})


class DefinitionError(ValueError):
    """A tool is not usable as its server describes it; the text says why."""


class Definition(msgspec.Struct, frozen=True):
    """One tool, as a model is told of it."""

    name: str
    """The server's own name."""
    description: str
    schema: dict[str, Any]
    """JSON schema of its arguments."""


def definition(name: str, description: str, schema: Mapping[str, Any]) -> Definition:
    """Return a tool's definition.

    Raises:
        DefinitionError: its schema is too large, too deep, or none of an object.
    """
    try:
        size = len(msgspec.json.encode(schema)) if _depth(schema) <= MAX_DEPTH else MAX_SCHEMA + 1
    except (TypeError, ValueError, RecursionError) as exc:
        raise DefinitionError(f"its schema is not JSON: {exc}") from exc
    if size > MAX_SCHEMA:
        raise DefinitionError(f"its schema is larger than {MAX_SCHEMA // 1024} KiB or deeper than {MAX_DEPTH} levels")
    if schema.get("type", "object") != "object":
        raise DefinitionError("its schema is not one of an object")
    return Definition(name, _cut(description, MAX_DESCRIPTION), {"type": "object", **_shown(dict(schema))})


def difference(old: Definition | None, new: Definition) -> str:
    """Return the difference of two definitions as a diff for people; without an old one, the whole new one."""
    after = _lines(new)
    if old is None:
        return "\n".join(after)
    return "\n".join(difflib.unified_diff(_lines(old), after, "accepted", "now", n=3, lineterm=""))


def _lines(tool: Definition) -> list[str]:
    schema = msgspec.json.format(msgspec.json.encode(tool.schema, order="sorted"), indent=2).decode()
    return [f"tool {visible(tool.name)}", *visible(tool.description).split("\n"), *visible(schema).split("\n")]


def _depth(value: object, level: int = 0) -> int:
    """Return how deep a value is, no further than the bound."""
    if level > MAX_DEPTH:
        return level
    inner: list[object]
    if isinstance(value, dict):
        inner = list(cast("dict[str, object]", value).values())
    elif isinstance(value, list):
        inner = list(cast("Iterable[object]", value))
    else:
        return level
    return max((_depth(each, level + 1) for each in inner), default=level)


def _shown(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema whose texts for the model are bounded and have nothing hidden."""
    shown: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _TEXTS and isinstance(value, str):
            shown[key] = _cut(value, MAX_TEXT)
        else:
            shown[key] = _inner(value)
    return shown


def _inner(value: Any) -> Any:
    if isinstance(value, dict):
        return _shown(cast("dict[str, Any]", value))
    return [_inner(each) for each in cast("Iterable[Any]", value)] if isinstance(value, list) else value


def _cut(text: str, limit: int) -> str:
    text = visible(text[: limit * 2])
    return text if len(text) <= limit else f"{text[:limit]} ... (cut)"
