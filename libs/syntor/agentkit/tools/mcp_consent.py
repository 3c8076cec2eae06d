"""Tools of MCP servers as agents get them: under safe names, as a person accepted them; what changed asks first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from syntor.agentkit.domain.mcp_definition import Definition, difference
from syntor.agentkit.domain.mcp_names import tool_name
from syntor.agentkit.domain.question import Question
from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.tools.mcp import McpConnection
from syntor.agentkit.tools.tool import Tool, ToolRun, bounded
from syntor.contracts.visible_text import visible, visible_line

ACCEPT, REFUSE = "accept the change", "refuse"
_NEW = "A tool that its MCP server added after the user accepted the server. Calling it shows it to the user first."


def offered_tools(connection: McpConnection) -> tuple[dict[str, Tool], list[str]]:
    """Return the tools of a connected server by their names for agents, and what the user is told of changes."""
    known = connection.accepted.known()
    tools: dict[str, Tool] = {}
    changed: list[str] = []
    for name, now in connection.definitions.items():
        accepted = now if known is None else known.get(name)
        if accepted != now:
            changed.append(visible_line(name, 60))
        tools.setdefault(tool_name(connection.name, name), _tool(connection, now, accepted))
    notes = [f"MCP server {connection.name}: tool {each} is not usable" for each in connection.left_out]
    if changed:
        notes.append(
            f"MCP server {connection.name} changed since it was accepted ({', '.join(changed[:10])}): the change is "
            f"shown at the next call, or by: syntor mcp accept {connection.name}"
        )
    return tools, notes


def _tool(connection: McpConnection, now: Definition, accepted: Definition | None) -> Tool:
    """Return a tool; the model is told what was accepted, never what has not been seen by a person."""
    shown = accepted or Definition(now.name, _NEW, {"type": "object", "properties": {}})

    async def run(run: ToolRun, arguments: dict[str, Any]) -> str:
        current = connection.definitions.get(now.name)
        if current is None:
            await connection.open()
            current = connection.definitions.get(now.name)
        if current is None:
            why = f": {connection.problem}" if connection.problem else ""
            raise ToolError(f"the MCP server {connection.name} has no tool {visible_line(now.name, 60)} now{why}")
        was = await _consent(connection, current, run)
        if was is None:
            schema = msgspec.json.encode(current.schema).decode()
            return bounded(f"Not called yet: the user accepted this tool just now. Call it again as described.\n"
                           f"{current.description}\nArguments: {schema}")  # fmt: skip
        return await connection.call_tool(now.name, arguments, run.ask)

    def preview(workspace: Path, arguments: Any) -> str:
        text = msgspec.json.format(msgspec.json.encode(arguments), indent=2).decode()
        return f"MCP server {connection.name}, tool {visible(now.name)}\n{visible(text)}"

    return Tool(
        name=tool_name(connection.name, now.name),
        description=shown.description,
        arguments=None,
        schema=shown.schema,
        run=run,
        paths=lambda arguments: [],
        effect="network",  # what a server says of its own tools is no reason to trust them; rules allow its tools
        repeatable=False,
        preview=preview,
    )


async def _consent(connection: McpConnection, now: Definition, run: ToolRun) -> Definition | None:
    """Return what was accepted of a tool before this call; None: it is new, and was accepted now.

    Raises:
        QuestionPendingError: a person has to decide on a change first.
        ToolError: a person refused the change.
    """
    known = connection.accepted.known()
    try:
        if known is None:  # this call passed the policy: what the server offers now is what is accepted
            connection.accepted.accept(connection.definitions.values())
            return now
        accepted = known.get(now.name)
        if accepted == now:
            return now
        what = (
            "changed this tool since you accepted it" if accepted else "added this tool since you accepted the server"
        )
        text = f"The MCP server {connection.name} {what}:\n\n{difference(accepted, now)}"
        question = Question(text=text, asked_by=f"mcp:{connection.name}", choices=[ACCEPT, REFUSE], other=False)
        given = await run.ask(question)
        if given.declined or given.text != ACCEPT:
            raise ToolError(f"the user does not accept the tool {visible_line(now.name, 60)} as it is now")
        connection.accepted.accept([now])
        return accepted
    except OSError as exc:
        raise ToolError(f"what is accepted of MCP server {connection.name} cannot be recorded: {exc}") from exc
