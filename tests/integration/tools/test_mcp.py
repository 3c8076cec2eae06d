"""Tools of MCP servers: over a process and over HTTP, when they fail, when they die, when they change."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.tools.mcp_config import read_servers
from syntor.agentkit.tools.mcp_tools import McpTools
from syntor.agentkit.tools.sandbox import limits_only
from syntor.agentkit.tools.tool import Tool, ToolRun
from syntor.contracts.errors import ConfigurationError
from syntor.testing.nats_server import free_port

DEADLINE_S = 30.0
SERVER = """
import os, sys
from mcp.server import MCPServer

server = MCPServer("lamps")


@server.tool(description="Say how many lamps there are")
def count(room: str) -> str:
    return f"3 lamps in {room}, {os.environ.get('COLOUR', 'no colour')}"


@server.tool()
def fail() -> str:
    raise ValueError("no such lamp")


@server.tool()
def die() -> str:
    os._exit(1)


if len(sys.argv) > 1:
    server.run(transport="streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
else:
    server.run(transport="stdio")
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "server.py").write_text(SERVER)
    return tmp_path


@pytest.fixture
async def external(home: Path) -> AsyncIterator[McpTools]:
    tools = McpTools(home, {"HUE": "red"})
    yield tools
    await tools.close()


def _configure(home: Path, **servers: dict[str, Any]) -> None:
    (home / "mcp.json").write_text(json.dumps({"mcpServers": servers}))


def _stdio(home: Path) -> dict[str, Any]:
    return {"command": sys.executable, "args": [str(home / "server.py")], "env": {"COLOUR": "${HUE}"}}


async def _use(tool: Tool, home: Path, **arguments: str) -> str:
    run = ToolRun(workspace=home, sandbox=limits_only(home, "a test"), key="r1.t1.c1_1")
    return await asyncio.wait_for(tool.run(run, arguments), DEADLINE_S)


async def test_a_server_that_is_a_process_gives_its_tools(home: Path, external: McpTools) -> None:
    _configure(home, lamps=_stdio(home))
    tools, problems = await external.tools(["mcp"])
    assert problems == []
    assert sorted(tools) == ["mcp_lamps_count", "mcp_lamps_die", "mcp_lamps_fail"]
    count = tools["mcp_lamps_count"]
    assert (count.effect, count.description) == ("network", "Say how many lamps there are")
    assert count.parameters()["required"] == ["room"]
    assert await _use(count, home, room="the hall") == "3 lamps in the hall, red"
    with pytest.raises(ToolError, match="Error executing tool fail"):
        await _use(tools["mcp_lamps_fail"], home)
    assert await _use(count, home, room="x") == "3 lamps in x, red"


async def test_a_server_that_dies_is_started_again_for_the_next_task(home: Path, external: McpTools) -> None:
    _configure(home, lamps=_stdio(home))
    tools, _ = await external.tools(["mcp_lamps"])
    with pytest.raises(ToolError, match="the MCP server lamps"):
        await _use(tools["mcp_lamps_die"], home)
    async with asyncio.timeout(DEADLINE_S):
        while "mcp_lamps_count" not in (tools := (await external.tools(["mcp"]))[0]):
            await asyncio.to_thread(home.stat)
    assert await _use(tools["mcp_lamps_count"], home, room="x") == "3 lamps in x, red"


async def test_a_server_over_http(home: Path, external: McpTools) -> None:
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(home / "server.py"), str(port), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(DEADLINE_S):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                except OSError:
                    await asyncio.to_thread(home.stat)
        _configure(home, lamps={"url": f"http://127.0.0.1:{port}/mcp", "headers": {"X-Key": "${HUE}"}})
        tools, problems = await external.tools(["mcp"])
        assert problems == []
        assert "3 lamps in y" in await _use(tools["mcp_lamps_count"], home, room="y")
    finally:
        await external.close()
        process.kill()
        await process.wait()


async def test_an_unavailable_server_costs_only_its_tools_and_is_reported(home: Path, external: McpTools) -> None:
    _configure(home, gone={"command": "no-such-program"}, off={"url": "http://127.0.0.1:9/mcp"}, lamps=_stdio(home))
    tools, problems = await external.tools(["mcp"])
    assert sorted(tools) == ["mcp_lamps_count", "mcp_lamps_die", "mcp_lamps_fail"]
    assert [problem.split(" is unavailable")[0] for problem in problems] == ["MCP server gone", "MCP server off"]
    _configure(home)
    assert await external.tools(["mcp"]) == ({}, [])


async def test_an_agent_gets_only_what_its_manifest_names(home: Path, external: McpTools) -> None:
    _configure(home, lamps=_stdio(home))
    assert await external.tools(["read_file"]) == ({}, [])
    assert await external.tools(["mcp_other"]) == ({}, [])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "mcp.json, line 1: not JSON"),
        ('{"mcpServers": {\n"a": {}}}', "mcp.json, line 2: mcpServers.a: give either command or url"),
        ('{"mcpServers": {"a b": {"command": "x"}}}', "mcpServers.a b: expected letters"),
        ('{"mcpServers": {"a": {\n\t"url": "ftp://x"}}}', "line 2: mcpServers.a.url: expected http:// or https://"),
        ('{"mcpServers": {"a": {"command": "x", "env": {"K": "${NONE}"}}}}', "a.env.K: ${NONE} is not set"),
        ('{"mcpServers": {"a": {"comand": "x"}}}', "comand: unknown key; did you mean mcpServers.a.command?"),
    ],
)
async def test_a_wrong_file_is_named_and_stops_no_agent(
    home: Path, external: McpTools, content: str, says: str
) -> None:
    (home / "mcp.json").write_text(content)
    with pytest.raises(ConfigurationError) as caught:
        read_servers(home, {})
    assert says in str(caught.value)
    tools, [problem] = await external.tools(["mcp"])
    assert tools == {}
    assert says in problem
