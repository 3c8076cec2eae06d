"""Results of MCP servers as text for a model: bounded, and with a note for what is no text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from syntor.agentkit.tools.tool import MAX_OUTPUT_CHARACTERS, bounded
from syntor.contracts.bounds import well_formed
from syntor.contracts.visible_text import visible_line

MAX_PARTS = 200
_BASE64 = 0.75  # bytes of data by character of it


def result_text(parts: Iterable[Any], structured: Any = None) -> str:
    """Return the parts of a result as text; structured content only where no text says the same."""
    texts: list[str] = []
    size = 0
    for number, part in enumerate(parts):
        if number == MAX_PARTS or size > MAX_OUTPUT_CHARACTERS * 4:
            texts.append("... more parts were left out ...")
            break
        text = _text(part)
        size += len(text)
        texts.append(text[: MAX_OUTPUT_CHARACTERS * 4])
    if structured is not None and not any(_same(text, structured) for text in texts):
        texts.append(f"structured content:\n{msgspec.json.encode(structured).decode()}")
    return bounded(well_formed("\n".join(texts)) or "(no content)")


def resource_text(contents: Iterable[Any]) -> str:
    """Return the contents of a resource as text."""
    return bounded(well_formed("\n".join(_content(each) for each in contents)) or "(no content)")


def reason(exc: BaseException) -> str:
    """Return why a request failed, bounded and with nothing hidden: servers write such texts."""
    inner = getattr(exc, "exceptions", ())
    return reason(inner[0]) if inner else visible_line(str(exc), 500) or type(exc).__name__


def _text(part: Any) -> str:
    match part.type:
        case "text":
            return str(part.text)
        case "resource":
            return _content(part.resource)
        case "resource_link":
            return f"(resource {part.uri}: {part.description or part.name}; read it with mcp_resources)"
        case "image" | "audio":
            return f"({part.type}, {part.mime_type}, {int(len(part.data) * _BASE64)} bytes: not shown to the model)"
        case kind:
            return f"({kind}, omitted)"


def _content(resource: Any) -> str:
    text = getattr(resource, "text", None)
    if text is not None:
        return str(text)
    size = int(len(getattr(resource, "blob", "")) * _BASE64)
    return f"({resource.uri}, {resource.mime_type or 'binary'}, {size} bytes: not shown to the model)"


def _same(text: str, structured: Any) -> bool:
    if structured == {"result": text}:  # how the official library wraps a result that is no object
        return True
    try:
        return bool(msgspec.json.decode(text) in (structured, structured.get("result")))
    except (AttributeError, msgspec.DecodeError, UnicodeEncodeError):
        return False
