"""Logins to a remote MCP server: made by a browser, kept privately, refreshed once, and never written anywhere else."""

from __future__ import annotations

import asyncio
import importlib
import json
import secrets
import stat
import sys
import time
import types
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import httpx2
import msgspec
import pytest
import uvicorn
from mcp.client.auth import OAuthFlowError
from mcp.server import MCPServer
from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    AuthorizationParams,
    RefreshToken,
    TokenError,
    construct_redirect_uri,
)
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from pydantic import AnyHttpUrl

from syntor.agentkit.tools import mcp_oauth
from syntor.agentkit.tools.mcp_config import read_servers
from syntor.agentkit.tools.mcp_oauth import LoginStore
from syntor.agentkit.tools.mcp_tools import McpTools
from syntor.agentkit.tools.sandbox import limits_only
from syntor.agentkit.tools.tool import ToolRun
from syntor.cli import mcp_login
from syntor.cli.mcp_loopback import Loopback
from syntor.testing.nats_server import free_port


class Accounts:
    """An authorization server that lets every client in, whose refresh tokens work once."""

    def __init__(self) -> None:
        self.clients: dict[str, OAuthClientInformationFull] = {}
        self.codes: dict[str, AuthorizationCode] = {}
        self.tokens: dict[str, AccessToken] = {}
        self.refresh: dict[str, RefreshToken] = {}
        self.lifetime_s = 3600
        self.refreshes = 0

    async def get_client(self, client_id: str) -> OAuthClientInformationFull | None:
        return self.clients.get(client_id)

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        assert client_info.client_id
        self.clients[client_info.client_id] = client_info

    async def authorize(self, client: OAuthClientInformationFull, params: AuthorizationParams) -> str:
        code = AuthorizationCode(
            code=secrets.token_hex(),
            scopes=params.scopes or [],
            expires_at=time.time() + 60,
            client_id=str(client.client_id),
            code_challenge=params.code_challenge,
            redirect_uri=params.redirect_uri,
            redirect_uri_provided_explicitly=params.redirect_uri_provided_explicitly,
            resource=params.resource,
        )
        self.codes[code.code] = code
        return construct_redirect_uri(str(params.redirect_uri), code=code.code, state=params.state)

    async def load_authorization_code(self, client: OAuthClientInformationFull, code: str) -> AuthorizationCode | None:
        return self.codes.get(code)

    async def exchange_authorization_code(
        self, client: OAuthClientInformationFull, code: AuthorizationCode
    ) -> OAuthToken:
        del self.codes[code.code]
        return self._issue(str(client.client_id), code.scopes)

    async def load_refresh_token(self, client: OAuthClientInformationFull, token: str) -> RefreshToken | None:
        return self.refresh.get(token)

    async def exchange_refresh_token(
        self, client: OAuthClientInformationFull, token: RefreshToken, scopes: list[str]
    ) -> OAuthToken:
        if self.refresh.pop(token.token, None) is None:
            raise TokenError("invalid_grant")
        self.refreshes += 1
        return self._issue(str(client.client_id), scopes)

    async def load_access_token(self, token: str) -> AccessToken | None:
        return self.tokens.get(token)

    async def revoke_token(self, token: AccessToken | RefreshToken) -> None:
        self.tokens.pop(token.token, None)

    def _issue(self, client_id: str, scopes: list[str]) -> OAuthToken:
        access, refresh = f"access-{secrets.token_hex()}", f"refresh-{secrets.token_hex()}"
        end = int(time.time()) + self.lifetime_s
        self.tokens[access] = AccessToken(token=access, client_id=client_id, scopes=scopes, expires_at=end)
        self.refresh[refresh] = RefreshToken(token=refresh, client_id=client_id, scopes=scopes)
        return OAuthToken(access_token=access, refresh_token=refresh, expires_in=self.lifetime_s)


class Remote(msgspec.Struct):
    """A running server."""

    accounts: Accounts
    url: str
    home: Path


@pytest.fixture
async def remote(tmp_path: Path) -> AsyncIterator[Remote]:
    accounts, port = Accounts(), free_port()
    base = f"http://127.0.0.1:{port}"
    auth = AuthSettings(
        issuer_url=AnyHttpUrl(base),
        resource_server_url=AnyHttpUrl(f"{base}/mcp"),
        client_registration_options=ClientRegistrationOptions(enabled=True),
        validate_token_resource=False,
    )
    server = MCPServer("lamps", auth_server_provider=cast("Any", accounts), auth=auth)

    @server.tool()
    def count() -> str:
        return "3 lamps"

    config = uvicorn.Config(server.streamable_http_app(), host="127.0.0.1", port=port, log_level="critical")
    served = uvicorn.Server(config)
    task = asyncio.create_task(served.serve())
    while not served.started:
        await asyncio.to_thread(tmp_path.stat)
    (tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": {"lamps": {"url": f"{base}/mcp", "timeout": 10}}}))
    yield Remote(accounts, f"{base}/mcp", tmp_path)
    served.should_exit = True
    await task


async def _log_in(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> tuple[int, bool]:
    """Log in as `syntor mcp login` does, with an HTTP client for a browser."""

    def visit(url: str) -> None:
        httpx2.get(url, follow_redirects=True, trust_env=False)

    monkeypatch.setattr("webbrowser.open", visit)
    server = read_servers([(remote.home / "mcp.json", remote.home)], {}).servers["lamps"]
    return await mcp_login._log_in(server, remote.home, browser=True)


async def _count(tools: McpTools, home: Path) -> str:
    offered, problems = await tools.tools(["mcp"])
    if problems:
        return problems[0]
    run = ToolRun(workspace=home, sandbox=limits_only(home, "a test"), key="r1.t1.c1_1")
    return await offered["mcp_lamps_count"].run(run, {})


async def test_a_login_is_used_by_agents_and_forgotten(
    remote: Remote,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = McpTools(remote.home, {})
    assert "log in with: syntor mcp login lamps" in await _count(before, remote.home)
    await before.close()
    assert await _log_in(remote, monkeypatch) == (1, True)
    path = remote.home / "mcp" / "logins" / "lamps.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    tools = McpTools(remote.home, {})
    assert "3 lamps" in await _count(tools, remote.home)
    await tools.close()
    store = LoginStore(remote.home, "lamps")
    assert store.where == "file"
    output = capsys.readouterr()
    written = output.out + output.err + caplog.text
    assert not any(token in written for token in (*remote.accounts.tokens, *remote.accounts.refresh))
    assert store.remove()
    assert not store.remove()
    after = McpTools(remote.home, {})
    assert "log in with" in await _count(after, remote.home)
    await after.close()


async def test_an_expired_login_is_refreshed_once_by_all_processes_together(
    remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote.accounts.lifetime_s = 5  # less than the margin: due immediately
    await _log_in(remote, monkeypatch)
    remote.accounts.lifetime_s = 3600
    remote.accounts.tokens.clear()
    all_tools = [McpTools(remote.home, {}) for _ in range(3)]
    counted = await asyncio.gather(*(_count(tools, remote.home) for tools in all_tools))
    assert all("3 lamps" in each for each in counted), counted
    assert remote.accounts.refreshes == 1
    await asyncio.gather(*(tools.close() for tools in all_tools))


async def test_a_revoked_login_says_how_to_log_in_and_registers_nothing(
    remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _log_in(remote, monkeypatch)
    remote.accounts.tokens.clear()
    remote.accounts.refresh.clear()
    clients = len(remote.accounts.clients)
    tools = McpTools(remote.home, {})
    assert "syntor mcp login lamps" in await _count(tools, remote.home)
    assert len(remote.accounts.clients) == clients
    await tools.close()


async def test_a_login_goes_to_no_other_address(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    await _log_in(remote, monkeypatch)
    other = remote.url.replace("127.0.0.1", "localhost")
    (remote.home / "mcp.json").write_text(json.dumps({"mcpServers": {"lamps": {"url": other}}}))
    tools = McpTools(remote.home, {})
    assert "lamps" not in (await tools.tools(["mcp"]))[0]
    await tools.close()


class _Keyring(types.ModuleType):
    """A keyring of the system, in memory."""

    def __init__(self, priority: float) -> None:
        super().__init__("keyring")
        self.kept: dict[tuple[str, str], str] = {}
        self.priority = priority

    def get_keyring(self) -> Any:
        return self

    def set_password(self, service: str, account: str, text: str) -> None:
        self.kept[service, account] = text

    def get_password(self, service: str, account: str) -> str | None:
        return self.kept.get((service, account))

    def delete_password(self, service: str, account: str) -> None:
        del self.kept[service, account]


@pytest.mark.parametrize(("priority", "where"), [(5, "keyring"), (0, "file")])
def test_a_login_is_kept_in_the_keyring_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, priority: float, where: str
) -> None:
    found = _Keyring(priority)
    monkeypatch.setitem(sys.modules, "keyring", found)
    store = LoginStore(tmp_path, "docs")
    store.write(mcp_oauth.Login(url="https://x", tokens={"access_token": "secret"}))
    assert store.where == where
    assert ("secret" in (tmp_path / "mcp/logins/docs.json").read_text()) is (where == "file")
    login = store.read()
    assert login is not None
    assert login.tokens == {"access_token": "secret"}
    assert store.remove()
    assert found.kept == {}
    assert store.read() is None


def test_a_login_is_read_without_a_keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(ImportError):
        importlib.import_module("keyring")
    assert mcp_oauth.keyring() is None
    assert LoginStore(tmp_path, "docs").read() is None


async def test_the_loopback_takes_one_code_and_nothing_else() -> None:
    loopback = Loopback()
    uri = await loopback.start(0)
    async with httpx2.AsyncClient(trust_env=False) as browser:
        assert (await browser.get(uri.replace("callback", "favicon.ico"))).status_code == 404
        assert (await browser.post(f"{uri}?code=x")).status_code == 404
        assert "logged in" in (await browser.get(f"{uri}?code=abc&state=s")).text
        assert (await browser.get(f"{uri}?code=other")).status_code == 404
    result = await loopback.code()
    assert (result.code, result.state) == ("abc", "s")
    loopback.close()


async def test_a_refused_login_is_said() -> None:
    loopback = Loopback()
    uri = await loopback.start(0)
    async with httpx2.AsyncClient(trust_env=False) as browser:
        shown = await browser.get(f"{uri}?error=access_denied&error_description=<b>no</b>")
    assert "<b>" not in shown.text
    with pytest.raises(OAuthFlowError, match="refused"):
        await loopback.code()
    loopback.close()
