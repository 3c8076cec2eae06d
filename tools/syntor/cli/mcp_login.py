"""Logs in to a remote MCP server with a person and a browser. Loads the client library."""

from __future__ import annotations

import asyncio
import sys
import webbrowser
from pathlib import Path

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from syntor.agentkit.tools.mcp import CONNECT_TIMEOUT_S, FAULTS
from syntor.agentkit.tools.mcp_config import ConfiguredServer
from syntor.agentkit.tools.mcp_http import server_client
from syntor.agentkit.tools.mcp_oauth import LoginStore, ServerLogin
from syntor.agentkit.tools.mcp_results import reason
from syntor.cli.mcp_loopback import Loopback
from syntor.contracts.errors import ConfigurationError


def log_in(server: ConfiguredServer, home: Path, *, browser: bool) -> tuple[int, bool]:
    """Log in, and return how many tools the server has, and whether a login was needed.

    Args:
        browser: open the page; else only its address is printed.

    Raises:
        ConfigurationError: it failed; says why.
    """
    try:
        return asyncio.run(_log_in(server, home, browser=browser))
    except FAULTS as exc:
        raise ConfigurationError(f"MCP server {server.name}: {reason(exc)}") from exc


async def _log_in(server: ConfiguredServer, home: Path, *, browser: bool) -> tuple[int, bool]:
    shown = False

    async def show_url(url: str) -> None:
        nonlocal shown
        shown = True
        sys.stderr.write(f"log in to {server.name} in your browser:\n  {url}\n")
        if browser:
            await asyncio.to_thread(webbrowser.open, url)

    loopback = Loopback()
    redirect_uri = await loopback.start(server.server.oauth.callback_port)
    login = ServerLogin(server, LoginStore(home, server.name), redirect_uri, show_url, loopback.code)
    timeout = httpx2.Timeout(server.server.timeout, connect=CONNECT_TIMEOUT_S)
    try:
        url = server.server.url
        async with server_client(url, {"SYNTOR_HOME": str(home)}, server.server.headers, timeout, login) as http:
            transport = streamable_http_client(url, http_client=http)
            async with Client(transport, read_timeout_seconds=CONNECT_TIMEOUT_S + 300) as client:
                return len((await client.list_tools()).tools), shown
    finally:
        loopback.close()
