"""Logins to remote MCP servers by OAuth: kept in the keyring of the system, or in a file only its owner can read.

Agents use a login and refresh it; only `syntor mcp login` makes one, because it needs a person and a browser. Tokens
appear in no log and in no error text.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import importlib
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from pathlib import Path
from typing import Any

import httpx2
import msgspec
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider, OAuthFlowError
from mcp.shared.auth import (
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthMetadata,
    OAuthToken,
    ProtectedResourceMetadata,
)

from syntor.agentkit.tools.mcp_approved import FOLDER
from syntor.agentkit.tools.mcp_config import ConfiguredServer
from syntor.contracts.decoding import UNDECODABLE
from syntor.runtime.private_files import make_private_folder, private

_KEYRING_SERVICE = "syntor-mcp"
_EARLY_S = 30.0  # a token is refreshed so long before it expires
ShowUrl = Callable[[str], Awaitable[None]]
ReadCode = Callable[[], Awaitable[AuthorizationCodeResult]]


class Login(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One login, and what is needed to refresh it."""

    url: str
    """Server it is for: the token goes to no other address."""
    tokens: dict[str, Any] = {}
    client: dict[str, Any] = {}
    expires_at: float = 0.0
    """Unix time; 0: unknown."""
    metadata: dict[str, Any] = {}
    resource: dict[str, Any] = {}
    authorization_server: str = ""
    wanted_scope: str = ""
    """Scopes a server asked for since the login; the next login requests them too."""


class _Kept(msgspec.Struct, omit_defaults=True):
    """The file of a login: the login itself, or that the keyring has it."""

    login: Login | None = None
    in_keyring: bool = False


class LoginStore:
    """Keeps the login of one server."""

    def __init__(self, home: Path, server: str) -> None:
        self._path = home / FOLDER / "logins" / f"{server}.json"
        self._account = f"{home.resolve()}:{server}"

    @property
    def exists(self) -> bool:
        """Whether there is a login."""
        return self._path.exists()

    @property
    def where(self) -> str:
        """Where the login is kept: `keyring` or `file`."""
        try:
            return "keyring" if msgspec.json.decode(self._path.read_bytes(), type=_Kept).in_keyring else "file"
        except (OSError, *UNDECODABLE):
            return "file"

    def read(self) -> Login | None:
        """Return the login; None: there is none, or the keyring that has it is not available to this process."""
        try:
            kept = msgspec.json.decode(self._path.read_bytes(), type=_Kept)
            if kept.in_keyring:
                text = keyring().get_password(_KEYRING_SERVICE, self._account)
                return msgspec.json.decode(text, type=Login) if text else None
        except (OSError, AttributeError, *UNDECODABLE):
            return None
        except Exception:  # noqa: BLE001 - each keyring has errors of its own; the login is not available then
            return None
        return kept.login

    def write(self, login: Login) -> None:
        """Keep a login.

        Raises:
            OSError: it cannot be kept.
        """
        kept = _Kept(in_keyring=True) if self._to_keyring(login) else _Kept(login)
        make_private_folder(self._path.parent.parent)
        make_private_folder(self._path.parent)
        temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        with open(temporary, "wb", opener=private) as file:
            file.write(msgspec.json.encode(kept))
        temporary.replace(self._path)

    def remove(self) -> bool:
        """Remove the login; return whether there was one."""
        if not self._path.exists():
            return False
        with contextlib.suppress(Exception):  # a keyring that is gone has nothing to remove
            keyring().delete_password(_KEYRING_SERVICE, self._account)
        self._path.unlink(missing_ok=True)
        return True

    @contextlib.contextmanager
    def locked(self) -> Generator[None, None, None]:
        """Hold the login for a refresh: two processes must not use one refresh token twice. Blocks."""
        with open(self._path.with_suffix(".lock"), "wb", opener=private) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _to_keyring(self, login: Login) -> bool:
        try:
            found = keyring()
            if found is None:
                return False
            found.set_password(_KEYRING_SERVICE, self._account, msgspec.json.encode(login).decode())
        except Exception:  # noqa: BLE001 - locked, too small, no session: the file is used
            return False
        return True


def keyring() -> Any:
    """Return the package `keyring` if it is installed and has a backend of the system; else None."""
    try:
        module = importlib.import_module("keyring")
        return module if module.get_keyring().priority >= 1 else None
    except Exception:  # noqa: BLE001 - not installed, or broken
        return None


class _Storage:
    """`TokenStorage` of the client library over a login."""

    def __init__(self, store: LoginStore, url: str) -> None:
        self._store = store
        self._url = url
        self.login = Login(url=url)
        self.provider: ServerLogin | None = None

    async def load(self) -> None:
        """Read what is kept; a login for another address does not count."""
        found = await asyncio.to_thread(self._store.read)
        self.login = found if found is not None and found.url == self._url else Login(url=self._url)

    async def get_tokens(self) -> OAuthToken | None:
        """Return the tokens."""
        return OAuthToken.model_validate(self.login.tokens) if self.login.tokens else None

    async def set_tokens(self, tokens: OAuthToken) -> None:
        """Keep new tokens, with what a refresh needs."""
        login = self.login
        login.tokens = tokens.model_dump(mode="json", exclude_none=True)
        login.expires_at = time.time() + tokens.expires_in if tokens.expires_in else 0.0
        if self.provider is not None:
            context = self.provider.context
            for field, value in (
                ("metadata", context.oauth_metadata),
                ("resource", context.protected_resource_metadata),
                ("client", context.client_info),
            ):
                if value is not None:
                    setattr(login, field, value.model_dump(mode="json", exclude_none=True))
            login.authorization_server = context.auth_server_url or ""
        await asyncio.to_thread(self._store.write, login)

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        """Return the client as it is registered."""
        return OAuthClientInformationFull.model_validate(self.login.client) if self.login.client else None

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        """Keep the client; it is stored with the tokens it gets."""
        self.login.client = client_info.model_dump(mode="json", exclude_none=True)


class ServerLogin(OAuthClientProvider):
    """Authorizes requests to one server; with `show_url` it also logs in."""

    def __init__(
        self,
        configured: ConfiguredServer,
        store: LoginStore,
        redirect_uri: str,
        show_url: ShowUrl | None = None,
        read_code: ReadCode | None = None,
    ) -> None:
        oauth = configured.server.oauth
        self._store = store
        self._name = configured.name
        self._new = show_url is not None
        self._oauth = oauth
        self._redirect_uri = redirect_uri
        self._kept = _Storage(store, configured.server.url)
        metadata = OAuthClientMetadata.model_validate(
            {
                "client_name": "Syntor",
                "redirect_uris": [redirect_uri],
                "grant_types": ["authorization_code", "refresh_token"],
                "response_types": ["code"],
                "scope": oauth.scope or None,
            }
        )
        super().__init__(configured.server.url, metadata, self._kept, show_url, read_code)
        self._kept.provider = self

    async def _initialize(self) -> None:
        """Load the login with all that a refresh needs."""
        await self._kept.load()
        login = self._kept.login
        if self._new:  # the address the browser comes back to is another one each time: registered anew
            login.tokens, login.client, login.metadata, login.resource = {}, {}, {}, {}
        if self._oauth.client_id:
            login.client = {
                "client_id": self._oauth.client_id,
                "client_secret": self._oauth.client_secret or None,
                "redirect_uris": [self._redirect_uri],
                "token_endpoint_auth_method": "client_secret_post" if self._oauth.client_secret else "none",
            }
        await super()._initialize()
        context = self.context
        context.token_expiry_time = login.expires_at - _EARLY_S if login.expires_at else None
        if not self._new:
            if login.metadata:
                context.oauth_metadata = OAuthMetadata.model_validate(login.metadata)
            if login.resource:
                context.protected_resource_metadata = ProtectedResourceMetadata.model_validate(login.resource)
            context.auth_server_url = login.authorization_server or None

    async def _perform_authorization(self) -> httpx2.Request:
        context, login = self.context, self._kept.login
        if not self._new:
            login.wanted_scope = context.client_metadata.scope or ""
            await asyncio.to_thread(self._store.write, login)
            raise OAuthFlowError(f"the login is missing, no longer valid or too narrow: syntor mcp login {self._name}")
        wanted = " ".join([context.client_metadata.scope or "", self._oauth.scope, login.wanted_scope]).split()
        context.client_metadata.scope = " ".join(dict.fromkeys(wanted)) or None
        if self._oauth.client_secret and context.client_info is not None:
            known = context.oauth_metadata.token_endpoint_auth_methods_supported if context.oauth_metadata else None
            basic = not known or "client_secret_basic" in known  # what it is without metadata (RFC 8414, section 2)
            context.client_info.token_endpoint_auth_method = "client_secret_basic" if basic else "client_secret_post"
        return await super()._perform_authorization()

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """Authorize one request; a refresh is made by one process, the others use its tokens."""
        expires_at = self.context.token_expiry_time
        due = not self._new and expires_at is not None and expires_at <= time.time()
        async with contextlib.AsyncExitStack() as stack:
            if not self._initialized or due:
                self._initialized = False
                if not self._new:
                    lock = self._store.locked()
                    await asyncio.to_thread(lock.__enter__)
                    stack.callback(lock.__exit__, None, None, None)
            flow = super().async_auth_flow(request)
            try:
                outgoing = await anext(flow)
                while True:
                    if outgoing is request:  # what had to be refreshed is
                        await stack.aclose()
                    response = yield outgoing
                    outgoing = await flow.asend(response)
            except StopAsyncIteration:
                return
            finally:
                await flow.aclose()


def login_of(configured: ConfiguredServer, home: Path) -> ServerLogin | None:
    """Return what authorizes requests to a server that a person logged in to; None: none did."""
    store = LoginStore(home, configured.name)
    return ServerLogin(configured, store, "http://127.0.0.1/callback") if store.exists else None
