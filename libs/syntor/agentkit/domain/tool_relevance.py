"""Which tools are relevant to a request, judged by its words.

For small models only: these call a tool even on small talk when one is offered.
"""

from __future__ import annotations

import re
from typing import Any, assert_never

from syntor.agentkit.domain.mcp_names import server_of
from syntor.contracts.vocabulary import ToolEffect

_READS = re.compile(
    r"\b(files?|folders?|director(y|ies)|repo(sitory)?|project|code|modules?|functions?|class(es)?|readme|diff|commits?"
    r"|staged|changes?|branch|tests?|look up|grep|rename|edit|replace|run|git)\b|[\w-]+\.[a-z]{1,4}\b|/",
    re.IGNORECASE,
)
_CHANGES = re.compile(
    r"\b(edit|replace|rename|change|add|remove|delete|fix|write|create|update|insert|set|make|refactor|commit)\b",
    re.IGNORECASE,
)
_RUNS = re.compile(r"\b(run|execute|tests?|build|install|command|shell|bash|commit|push|branch)\b", re.IGNORECASE)
_GIT = re.compile(
    r"\b(git|commits?|diff(erence)?s?|staged|branch(es)?|merge|push|pull|history|clone|changes|changed)\b",
    re.IGNORECASE,
)
_NOTEBOOKS = re.compile(r"\bnotebooks?\b|\bjupyter\b|\.ipynb\b", re.IGNORECASE)
_NOT_FOR_SMALL_MODELS = frozenset({"ask_user", "apply_patch", "todo"})  # they would ask or plan instead of trying
_BACKGROUND = re.compile(r"\b(background|server|process(es)?|watch|stop|logs?)\b", re.IGNORECASE)
_DELEGATES = re.compile(r"\b(plan|delegate|agents?|hand over|specialists?)\b", re.IGNORECASE)


def is_relevant(tool: str, effect: ToolEffect, request: str) -> bool:
    """Return whether a tool is relevant to a request.

    Args:
        tool: name of the tool; git tools need a word about git, tools of an MCP server the name of that server.
        effect: its effect; see `Tool.effect`.
    """
    if tool in _NOT_FOR_SMALL_MODELS:
        return False
    if tool.startswith("git_") and not _GIT.search(request):
        return False
    if tool.endswith("_notebook") and not _NOTEBOOKS.search(request):
        return False
    if tool.startswith("process_") and not _BACKGROUND.search(request):
        return False
    server = server_of(tool)
    return _concerns(effect, request) or (bool(server) and server in request.lower())


def essential(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a tool's arguments without the optional ones, except a path: small models fill in all.

    Args:
        schema: of an object; one without required properties stays as it is.
    """
    required: list[str] = schema.get("required", [])
    if not required:
        return schema
    properties: dict[str, Any] = schema.get("properties", {})
    return schema | {
        "properties": {name: each for name, each in properties.items() if name in required or name == "path"}
    }


def concerns_delegation(request: str) -> bool:
    """Return whether a request is about other agents."""
    return _DELEGATES.search(request) is not None


def _concerns(effect: ToolEffect, request: str) -> bool:
    reads = _READS.search(request) is not None
    match effect:
        case "read":
            return reads
        case "write":
            return reads and _CHANGES.search(request) is not None
        case "execute":
            return reads and _RUNS.search(request) is not None
        case "network":
            return "://" in request
        case "delegate":
            return concerns_delegation(request)
        case "client":
            return True
        case _:
            assert_never(effect)
