"""Syntor's MCP client as the official conformance suite starts it: `mcp_client.py URL`; see tools/mcp-conformance.

It does what an agent does with a server: connect, list the tools, call each with plausible arguments, respond to
questions with what their forms propose. For servers that require it, it logs in as `syntor mcp login` does, with an
HTTP client in place of a browser.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import webbrowser
from pathlib import Path
from typing import Any

import httpx2

from syntor.agentkit.domain.question import Question, Response
from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.tools.mcp import McpConnection
from syntor.agentkit.tools.mcp_config import ConfiguredServer, McpOAuth, McpServer
from syntor.cli.mcp_login import log_in

VALUES = {"number": 2, "integer": 2, "string": "text", "boolean": True, "array": [], "object": {}}


async def respond(question: Question) -> Response:
    """Accept what the form proposes."""
    return Response(values={})


async def use(server: ConfiguredServer, home: Path) -> bool:
    """Use a server as an agent does; return whether a new login is required."""
    login = False
    connection = McpConnection(server, home, os.environ)
    try:
        await connection.open(wait_s=20)
        if connection.problem:
            raise SystemExit(connection.problem)
        for name, tool in connection.definitions.items():
            properties: dict[str, Any] = tool.schema.get("properties", {})
            arguments = {key: VALUES.get(each.get("type", ""), "text") for key, each in properties.items()}
            try:
                print(name, await connection.call_tool(name, arguments, respond))
            except ToolError as exc:
                login = login or "syntor mcp login" in str(exc)
                print(name, exc)
    finally:
        await connection.close()
    return login


def visit(url: str) -> bool:
    """Go where a browser would."""
    httpx2.get(url, follow_redirects=True, trust_env=False)
    return True


def main() -> None:
    """Run one scenario."""
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
    oauth = McpOAuth(clientId=str(context.get("client_id", "")), clientSecret=str(context.get("client_secret", "")))
    server = ConfiguredServer("suite", McpServer(url=sys.argv[-1], timeout=25.0, oauth=oauth), "/", "suite")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        webbrowser.open = lambda url, new=0, autoraise=True: visit(url)
        if os.environ.get("MCP_CONFORMANCE_SCENARIO", "").startswith("auth/"):
            print(log_in(server, home, browser=True))
        if asyncio.run(use(server, home)):
            log_in(server, home, browser=True)
            asyncio.run(use(server, home))


if __name__ == "__main__":
    main()
