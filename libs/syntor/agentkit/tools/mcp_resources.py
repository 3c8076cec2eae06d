"""The tool that lists and reads the resources of MCP servers: mcp_resources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec
from mcp import Client
from msgspec import Meta

from syntor.agentkit.domain.mcp_names import RESOURCES
from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.tools.mcp import FAULTS, McpConnection
from syntor.agentkit.tools.mcp_results import resource_text
from syntor.agentkit.tools.tool import Tool, ToolRun, bounded
from syntor.contracts.visible_text import visible_line

MAX_LISTED = 200


class McpResources(msgspec.Struct, frozen=True):
    """Arguments of mcp_resources."""

    server: Annotated[str, Meta(max_length=64, description="Server to list or read from; empty: list those of all")] = (
        ""
    )
    uri: Annotated[str, Meta(max_length=4096, description="Resource to read; empty: list them")] = ""


def resources_tool(connections: Mapping[str, McpConnection]) -> Tool:
    """Return the tool for the connected servers."""

    async def run(run: ToolRun, arguments: McpResources) -> str:
        if arguments.uri:
            connection = connections.get(arguments.server)
            if connection is None:
                raise ToolError(f"no MCP server {arguments.server!r}; there are {', '.join(connections) or 'none'}")
            return await read_resource(connection, arguments.uri)
        chosen = [each for name, each in connections.items() if arguments.server in ("", name)]
        return bounded("\n".join([line for each in chosen for line in await listed(each)]) or "no resources")

    return Tool(
        name=RESOURCES,
        description="List the resources of MCP servers (documents, records), or read one by its server and URI.",
        arguments=McpResources,
        run=run,
        paths=lambda arguments: [],
        effect="network",
        repeatable=True,
        subject=lambda arguments: f"{arguments.server} {arguments.uri}".strip(),
    )


async def read_resource(connection: McpConnection, uri: str) -> str:
    """Return the text of a resource.

    Raises:
        ToolError: it cannot be read.
    """

    async def read(client: Client) -> str:
        return resource_text((await client.read_resource(uri, cache_mode="refresh")).contents)

    return await connection.use(read)


async def listed(connection: McpConnection) -> list[str]:
    """Return a line for each resource and template of a server; a server without resources has none."""

    async def read(client: Client) -> str:
        lines: list[str] = []
        if client.server_capabilities.resources is None:
            return ""
        page = await client.list_resources(cache_mode="refresh")
        for each in page.resources[:MAX_LISTED]:
            lines.append(_line(connection, each.uri, each.title or each.name, each.description))
        try:
            templates = (await client.list_resource_templates(cache_mode="refresh")).resource_templates
        except FAULTS:
            templates = []
        for template in templates[:MAX_LISTED]:
            lines.append(
                _line(connection, template.uri_template, template.title or template.name, template.description)
            )
        return "\n".join(lines)

    try:
        return [line for line in (await connection.use(read)).split("\n") if line]
    except ToolError as exc:
        return [f"{connection.name}: {exc}"]


def _line(connection: McpConnection, uri: str, name: str, description: str | None) -> str:
    text = f": {visible_line(description, 200)}" if description else ""
    return f"{connection.name} {visible_line(uri, 500)} ({visible_line(name, 100)}){text}"
