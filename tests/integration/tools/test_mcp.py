"""Tools of MCP servers: over a process and over HTTP, when they fail, when they die, when they change."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from syntor.agentkit.domain.question import Question, Response
from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.tools.mcp_config import read_servers
from syntor.agentkit.tools.mcp_resources import McpResources
from syntor.agentkit.tools.mcp_tools import McpTools
from syntor.agentkit.tools.sandbox import limits_only
from syntor.agentkit.tools.tool import Tool, ToolRun
from syntor.cli import mcp_access, mcp_commands
from syntor.cli.interactive import mcp_session
from syntor.configuration.trust import Trust, remember
from syntor.contracts.errors import InvalidInputError
from syntor.testing.nats_server import free_port

DEADLINE_S = 30.0
SERVER = """
import os, sys
from mcp.server import MCPServer

server = MCPServer("lamps")


@server.tool(description="Say how many lamps there are")
def count(room: str) -> str:
    return f"3 lamps in {room}, {os.environ.get('COLOUR', 'no colour')}"


@server.resource("note://today", description="What to do")
def today() -> str:
    return "water the plants"


@server.prompt()
def greet(name: str) -> str:
    return f"Say hello to {name}"


@server.tool()
def fail() -> str:
    raise ValueError("no such lamp")


@server.tool()
def die() -> str:
    os._exit(1)


if len(sys.argv) > 1:
    server.run(transport=sys.argv[2], host="127.0.0.1", port=int(sys.argv[1]))
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
    assert sorted(tools) == ["mcp_lamps_count", "mcp_lamps_die", "mcp_lamps_fail", "mcp_resources"]
    count = tools["mcp_lamps_count"]
    assert (count.effect, count.description) == ("network", "Say how many lamps there are")
    assert count.parameters()["required"] == ["room"]
    assert await _use(count, home, room="the hall") == "3 lamps in the hall, red"
    with pytest.raises(ToolError, match="Error executing tool fail"):
        await _use(tools["mcp_lamps_fail"], home)
    assert await _use(count, home, room="x") == "3 lamps in x, red"


async def test_resources_are_listed_and_read(home: Path, external: McpTools) -> None:
    _configure(home, lamps=_stdio(home))
    tool = (await external.tools(["mcp"]))[0]["mcp_resources"]
    run = ToolRun(workspace=home, sandbox=limits_only(home, "a test"), key="r1.t1.c1_1")
    assert await tool.run(run, McpResources()) == "lamps note://today (today): What to do"
    assert await tool.run(run, McpResources("lamps", "note://today")) == "water the plants"
    with pytest.raises(ToolError, match="no MCP server 'x'; there are lamps"):
        await tool.run(run, McpResources("x", "note://today"))
    with pytest.raises(ToolError, match="MCP server lamps: "):
        await tool.run(run, McpResources("lamps", "note://tomorrow"))
    assert tool.subject(McpResources("lamps", "note://today")) == "lamps note://today"


async def test_a_server_that_dies_is_started_again_for_the_next_task(home: Path, external: McpTools) -> None:
    _configure(home, lamps=_stdio(home))
    tools, _ = await external.tools(["mcp_lamps"])
    with pytest.raises(ToolError, match="the MCP server lamps"):
        await _use(tools["mcp_lamps_die"], home)
    async with asyncio.timeout(DEADLINE_S):
        while "mcp_lamps_count" not in (tools := (await external.tools(["mcp"]))[0]):
            await asyncio.to_thread(home.stat)
    assert await _use(tools["mcp_lamps_count"], home, room="x") == "3 lamps in x, red"


@pytest.mark.parametrize(
    ("transport", "entry"), [("streamable-http", {"path": "/mcp"}), ("sse", {"path": "/sse", "type": "sse"})]
)
async def test_a_server_over_http(home: Path, external: McpTools, transport: str, entry: dict[str, str]) -> None:
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(home / "server.py"), str(port), transport, stderr=asyncio.subprocess.DEVNULL
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
        url = f"http://127.0.0.1:{port}{entry['path']}"
        _configure(home, lamps={"url": url, "type": entry.get("type", ""), "headers": {"X-Key": "${HUE}"}})
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
    assert sorted(tools) == ["mcp_lamps_count", "mcp_lamps_die", "mcp_lamps_fail", "mcp_resources"]
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
        ("[]", "expected a JSON object"),
        ('{"mcpServers": {"a": 1}}', "mcpServers.a: expected a server"),
        ('{"servers": {"a": {"command": "x", "type": "ws"}}}', "servers.a.type: expected one of stdio"),
        ('{"mcpServers": {"a": {"command": "x", "type": "sse"}}}', "type sse needs a url"),
        ('{"mcpServers": {"a": {"url": "${input:token}"}}}', "asked for by other tools only"),
        ('{"mcpServers": {"a": {"command": "x", "args": ["${SYNTOR_NATS_URL}"]}}}', "Syntor's own"),
        ('{"mcpServers": {"a": {"command": "x", "envFile": "no.env"}}}', "a.envFile: "),
        ('{"mcpServers": {"a": {"command": "x", "timeout": 0}}}', "a.timeout: expected"),
        ("{", "mcp.json, line 1: not JSON"),
        ('{"mcpServers": {\n"a": {}}}', "mcp.json, line 2: mcpServers.a: give either command or url"),
        ('{"mcpServers": {"a": {\n\t"url": "ftp://x"}}}', "line 2: mcpServers.a.url: expected http:// or https://"),
        ('{"mcpServers": {"a": {"command": "x", "env": {"K": "${NONE}"}}}}', "a.env.K: ${NONE} is not set"),
        ('{"mcpServers": {"a": {"comand": "x"}}}', "give either command or url"),
    ],
)
async def test_what_is_wrong_is_named_and_costs_only_its_server(
    home: Path, external: McpTools, content: str, says: str
) -> None:
    (home / "mcp.json").write_text(content)
    found = read_servers([(home / "mcp.json", home)], {})
    assert says in "\n".join(found.problems)
    tools, problems = await external.tools(["mcp"])
    assert tools == {}
    assert says in "\n".join(problems)


async def test_a_wrong_entry_leaves_the_others(home: Path, external: McpTools) -> None:
    _configure(home, bad={"comand": "x"}, lamps=_stdio(home), off={"disabled": True})
    tools, [problem] = await external.tools(["mcp"])
    assert "mcp_lamps_count" in tools
    assert "mcpServers.bad: give either command or url" in problem


def test_keys_of_other_tools_are_understood_or_noted(tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text("# comment\nexport ONE='1 2'\nTWO=x\n")
    entries = {
        "brave_search": {"command": "${HUE}", "args": ["${NO:-d}", "${env:HUE}"], "envFile": "a.env",
                         "env": {"TWO": "y"}, "autoApprove": ["x"], "comand": "typo", "timeout": 60000, "cwd": "sub"},
        "remote": {"type": "streamable-http", "serverUrl": "https://${HUE}/mcp", "timeout": 5, "alwaysAllow": ["y"]},
        "old": {"type": "sse", "url": "https://h/sse"},
    }  # fmt: skip
    (tmp_path / "mcp.json").write_text(json.dumps({"servers": entries, "inputs": [], "other": 1}))
    found = read_servers([(tmp_path / "mcp.json", tmp_path)], {"HUE": "red"})
    assert found.problems == []
    brave, remote = found.servers["brave-search"], found.servers["remote"]
    assert (brave.server.command, brave.server.args, brave.server.timeout) == ("red", ["d", "red"], 60.0)
    assert (brave.server.env, brave.folder) == ({"ONE": "1 2", "TWO": "y"}, str(tmp_path / "sub"))
    assert (remote.server.url, remote.server.type, remote.server.timeout) == ("https://red/mcp", "http", 5.0)
    notes = "\n".join(found.notes)
    assert "servers.brave_search.autoApprove: not obeyed: permission rules decide" in notes
    assert "servers.brave_search.comand: unknown key, ignored; did you mean command?" in notes
    assert "other: ignored" in notes
    assert "inputs" not in notes


async def test_a_project_configures_servers_once_it_is_trusted(home: Path, external: McpTools, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / ".mcp.json").write_text(json.dumps({"mcpServers": {"own": _stdio(home)}}))
    tools, [problem] = await external.tools(["mcp"], project)
    assert tools == {}
    assert "is not used until you trust the folder" in problem
    remember(home, project, Trust.TRUSTED)
    tools, problems = await external.tools(["mcp"], project)
    assert problems == []
    assert "mcp_own_count" in tools
    assert await external.tools(["mcp"]) == ({}, [])


async def test_prompts_and_resources_are_read_by_commands(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SYNTOR_HOME", str(home))
    monkeypatch.setenv("HUE", "red")
    _configure(home, lamps=_stdio(home))
    assert await asyncio.to_thread(mcp_access.prompt_text, "lamps", "greet", "Ann Lee") == "Say hello to Ann Lee"
    assert await asyncio.to_thread(mcp_access.resource, "lamps", "note://today") == "water the plants"
    with pytest.raises(InvalidInputError, match="/mcp__lamps__greet needs name"):
        await asyncio.to_thread(mcp_access.prompt_text, "lamps", "greet", "")
    with pytest.raises(InvalidInputError, match="no prompt 'x'; there are greet"):
        await asyncio.to_thread(mcp_access.prompt_text, "lamps", "x", "")
    text, commands = await asyncio.to_thread(mcp_session.overview)
    assert "  /mcp__lamps__greet name" in text
    assert list(commands) == ["mcp__lamps__greet"]
    await asyncio.to_thread(mcp_commands.test, "lamps")
    assert "mcp_lamps_count" in (shown := capsys.readouterr().out)
    assert "resource lamps note://today" in shown
    await asyncio.to_thread(mcp_commands.accept, "lamps", yes=True)
    assert "accepted: 3" in capsys.readouterr().out
    await asyncio.to_thread(mcp_commands.accept, "lamps", yes=True)
    assert "nothing changed" in capsys.readouterr().out
    mcp_commands.list_servers()
    assert "lamps" in capsys.readouterr().out


ASKING = """
from typing import Annotated
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.resolve import Elicit, Resolve
from pydantic import BaseModel

server = MCPServer("paint")


class Form(BaseModel):
    colour: str
    coats: int = 2


def ask() -> Elicit[Form]:
    return Elicit("Which colour?", Form)


@server.tool()
async def new(form: Annotated[Form, Resolve(ask)]) -> str:
    return f"{form.coats} coats of {form.colour}"


@server.tool()
async def old(context: Context) -> str:
    result = await context.elicit("Which colour?", Form)
    return f"{result.data.coats} coats of {result.data.colour}"


server.run(transport="stdio")
"""


async def test_servers_of_the_newest_and_of_older_versions_ask(home: Path, external: McpTools) -> None:
    (home / "asking.py").write_text(ASKING)
    _configure(home, paint={"command": sys.executable, "args": [str(home / "asking.py")]})
    asked: list[Question] = []

    async def ask(question: Question) -> Response:
        asked.append(question)
        return Response(values={"colour": "blue"})

    async def call(name: str) -> str:
        tools, _ = await external.tools(["mcp"])
        run = ToolRun(workspace=home, sandbox=limits_only(home, "a test"), key="r1.t1.c1_1", ask=ask)
        return await asyncio.wait_for(tools[f"mcp_paint_{name}"].run(run, {}), DEADLINE_S)

    assert await call("new") == "2 coats of blue"
    with pytest.raises(ToolError, match="call the tool again"):  # a connection of the newest version cannot carry it
        await call("old")
    assert await call("old") == "2 coats of blue"
    assert await call("new") == "2 coats of blue"
    assert {question.text for question in asked} == {"Which colour?"}
