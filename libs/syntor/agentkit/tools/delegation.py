"""Tools that involve other participants: delegate, handoff and plan for other agents, and tools of the client.

None of them runs here: delegated work becomes tasks of the same run, and the client runs its own tools.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import msgspec

from syntor.agentkit.domain.delegation import MAX_STEPS
from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.tools.tool import Tool, ToolRun
from syntor.contracts.session.v1 import ClientTool


async def _not_run_here(run: ToolRun, arguments: Any) -> NoReturn:
    raise ToolError("this tool does not run in the agent's process")


def _no_paths(arguments: Any) -> list[str]:
    return []


def _preview(workspace: Path, arguments: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(arguments), indent=2).decode()


def _object(required: list[str], **properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required}


def _text(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description}


def _tool(name: str, description: str, schema: dict[str, Any]) -> Tool:
    return Tool(
        name=name,
        description=description,
        arguments=None,
        schema=schema,
        run=_not_run_here,
        paths=_no_paths,
        effect="delegate",
        repeatable=True,
        preview=_preview,
        subject=lambda arguments: str(arguments.get("agent") or arguments.get("summary") or ""),
    )


def client_tool(offered: ClientTool) -> Tool:
    """Return a tool that runs at the client.

    Raises:
        msgspec.DecodeError: its parameters are no JSON; the registration was refused for that already.
    """
    return Tool(
        name=offered.name,
        description=offered.description,
        arguments=None,
        schema=msgspec.json.decode(offered.parameters, type=dict[str, Any]),
        run=_not_run_here,
        paths=_no_paths,
        effect="client",
        repeatable=True,
    )


_STEP = _object(
    ["id", "agent", "action"],
    id=_text("Short unique name"),
    agent=_text("Agent that does it"),
    action=_text("What to do, complete in itself: the agent sees nothing else but the results of the steps before"),
    depends_on={"type": "array", "items": {"type": "string"}, "description": "Ids of steps that must be done before"},
)
DELEGATION_TOOLS = (
    _tool(
        "delegate",
        "Have another agent do something and get its result. Several in one turn run in parallel.",
        _object(
            ["agent", "task"],
            agent=_text("Agent id"),
            task=_text("What to do, complete in itself: the agent sees nothing else"),
        ),
    ),
    _tool(
        "handoff",
        "Hand the whole conversation over to an agent that fits better; its answer is the answer.",
        _object(["agent", "task"], agent=_text("Agent id"), task=_text("What the user wants, in full")),
    ),
    _tool(
        "plan",
        "Carry out several steps by several agents; steps without dependencies run in parallel.",
        _object(
            ["summary", "steps"],
            summary=_text("What the plan is for, one line"),
            steps={"type": "array", "items": _STEP, "maxItems": MAX_STEPS, "description": "Steps of the plan"},
        ),
    ),
)
