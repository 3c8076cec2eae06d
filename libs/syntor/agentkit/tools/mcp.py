"""Connections to MCP servers, through the official client; imported only where a server is configured.

One asyncio task owns a connection: it opens it, keeps its list of tools, and closes it. While a server is starting or
down, only its tools are unavailable; a later task of the agent connects again, less often the more often it fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx2
import mcp_types as types
from mcp import Client, MCPError
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

from syntor.agentkit.domain.mcp_definition import MAX_TOOLS, Definition, DefinitionError, definition
from syntor.agentkit.domain.question import Question, QuestionPendingError, Response
from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.tools.mcp_approved import FOLDER, AcceptedTools
from syntor.agentkit.tools.mcp_config import ConfiguredServer
from syntor.agentkit.tools.mcp_http import server_client
from syntor.agentkit.tools.mcp_oauth import login_of
from syntor.agentkit.tools.mcp_process import ServerProcess, clean_environment
from syntor.agentkit.tools.mcp_results import reason, result_text
from syntor.contracts.errors import SyntorError
from syntor.contracts.forms import FormError, fields_of
from syntor.contracts.visible_text import visible, visible_line
from syntor.runtime.telemetry import get_logger
from syntor.runtime.version import VERSION

CONNECT_TIMEOUT_S = 30.0
START_WAIT_S = 8.0  # a task waits for a server that starts; later its tools come with the next task
RETRY_FIRST_S, RETRY_LAST_S = 2.0, 300.0  # pauses before connecting again
STABLE_S = 60.0  # a connection that lasted as long ends the growth of the pauses
RELIST_S = 1.0  # least time between two readings of a list that a server keeps changing
MAX_PAGES = 50
_NO_BACK_CHANNEL = "no back-channel"  # of the official library, where a tool asks on a connection that cannot carry it
FAULTS = (MCPError, OSError, RuntimeError, ValueError, httpx2.HTTPError, SyntorError, ExceptionGroup)
Ask = Callable[[Question], Awaitable[Response]]
for _name in ("mcp", "client", "httpx2"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)  # they log what servers send, tokens and all


class _Call:
    """One call in progress, for the questions its server asks."""

    def __init__(self, ask: Ask | None) -> None:
        self.ask = ask
        self.pending: QuestionPendingError | ToolError | None = None
        self.stop = asyncio.Event()


_CALL: contextvars.ContextVar[_Call | None] = contextvars.ContextVar("mcp_call", default=None)


class McpConnection:
    """A connection to one server, opened when its tools are first requested."""

    def __init__(self, configured: ConfiguredServer, home: Path, environ: Mapping[str, str]) -> None:
        self.configured = configured
        self.name = configured.name
        self.problem = ""
        """Why it is not connected; empty: it is connected, or was not tried yet."""
        self.left_out: list[str] = []
        """Tools that cannot be used, each with the reason."""
        self.accepted = AcceptedTools(home, self.name, configured.server.address)
        self.used_at = time.monotonic()
        self._home = home
        self._environ = environ
        self._definitions: dict[str, Definition] = {}
        self._client: Client | None = None
        self._process: ServerProcess | None = None
        self._connection_task: asyncio.Task[None] | None = None
        self._opened: asyncio.Future[None] | None = None
        self._began = 0.0
        self._failures = 0
        self._retry_at = 0.0
        self._close = asyncio.Event()  # of the connection that is open
        self._changed = asyncio.Event()
        self._calls: list[_Call] = []
        self._one_call = asyncio.Lock()
        self._needs_login = False
        self._legacy = False  # the server needs a version of the protocol in which it can send requests
        self._serial = False  # the server asked while several calls were in progress

    @property
    def definitions(self) -> dict[str, Definition]:
        """Its tools by the server's names; none while it is not connected."""
        return self._definitions if self._client is not None else {}

    @property
    def has_resources(self) -> bool:
        """Whether it is connected and has resources."""
        return self._client is not None and self._client.server_capabilities.resources is not None

    @property
    def is_busy(self) -> bool:
        """Whether a call is in progress."""
        return bool(self._calls)

    async def open(self, wait_s: float | None = None) -> None:
        """Connect unless it is connected, and wait for it, no longer than `wait_s` after it began to start.

        Args:
            wait_s: seconds; None: as long as a task waits.
        """
        wait_s = START_WAIT_S if wait_s is None else wait_s
        self.used_at = time.monotonic()
        if self._client is not None:
            return
        if self._connection_task is not None and self._opened is not None and self._opened.done():
            await asyncio.wait([self._connection_task], timeout=wait_s)  # it closes after a lost connection
        if self._opened is None:
            if time.monotonic() < self._retry_at or (self._connection_task and not self._connection_task.done()):
                return
            self._opened = asyncio.get_running_loop().create_future()
            self._began = time.monotonic()
            self._close = asyncio.Event()
            self._connection_task = asyncio.create_task(self._keep(self._opened), context=contextvars.Context())
        opened = self._opened
        await asyncio.wait([opened], timeout=max(self._began + wait_s - time.monotonic(), 0.0))
        if not opened.done():
            self.problem = "it is still starting; its tools come with a later task"

    async def close(self) -> None:
        """Disconnect, and end its process where it has one."""
        self._close.set()
        if self._connection_task is not None:
            if self._client is None:
                self._connection_task.cancel()
            await asyncio.gather(self._connection_task, return_exceptions=True)

    async def call_tool(self, name: str, arguments: dict[str, Any], ask: Ask | None) -> str:
        """Return the text of a tool's result.

        Raises:
            ToolError: the tool or the connection failed.
            QuestionPendingError: the server asks a person; the call was cancelled, and is to be made again later.
        """

        async def make(client: Client) -> str:
            result = await client.call_tool(name, arguments, read_timeout_seconds=self.configured.server.timeout)
            text = result_text(result.content, result.structured_content)
            if result.is_error:
                raise ToolError(text)
            return text

        return await self.use(make, ask)

    async def use(self, make: Callable[[Client], Awaitable[str]], ask: Ask | None = None) -> str:
        """Return what a request to the server returns; errors as `call_tool`."""
        if not self._serial:
            return await self._use(make, ask)
        async with self._one_call:
            return await self._use(make, ask)

    async def _use(self, make: Callable[[Client], Awaitable[str]], ask: Ask | None) -> str:
        client = self._client
        if client is None:
            raise ToolError(f"the MCP server {self.name} is not connected{self._why()}")
        call = _Call(ask)
        token = _CALL.set(call)
        self._calls.append(call)
        work = asyncio.ensure_future(make(client))
        stop = asyncio.create_task(call.stop.wait())
        timeout_s = self.configured.server.timeout
        try:
            await asyncio.wait([work, stop], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if call.pending is not None:
                raise call.pending
            if not work.done():
                raise ToolError(f"the MCP server {self.name} did not respond within {timeout_s:g} s")
            return work.result()
        except FAULTS as exc:
            if isinstance(exc, ToolError):
                raise
            ill_formed = isinstance(exc, ValueError)  # this result only
            if (not isinstance(exc, MCPError) and not ill_formed) or "closed" in str(exc).lower():
                self._client = None  # the next task connects again
                self._close.set()
            if _NO_BACK_CHANNEL in str(exc) and not self._legacy:
                self._legacy = True
                self._client = None
                self._close.set()
                raise ToolError(
                    f"the MCP server {self.name} asks as older versions of the protocol do; it is connected so from "
                    "now on: call the tool again"
                ) from exc
            raise ToolError(f"the MCP server {self.name}: {self._reason(exc)}") from exc
        finally:
            self._calls.remove(call)
            _CALL.reset(token)
            self.used_at = time.monotonic()
            for task in (work, stop):
                task.cancel()
            await asyncio.gather(work, stop, return_exceptions=True)

    async def _keep(self, opened: asyncio.Future[None]) -> None:
        """Open the connection and keep it until it is to be closed; record what went wrong."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S) as deadline, self._session() as client:
                await self._list(client)
                self._client, self.problem = client, ""
                deadline.reschedule(None)
                opened.set_result(None)
                await self._while_open(client)
                if self._process is not None and self._process.ended.is_set() and not self._close.is_set():
                    raise ConnectionError("its process ended")
        except TimeoutError:
            self._fail(f"no response within {CONNECT_TIMEOUT_S:g} s")
        except FAULTS as exc:
            self._fail(self._reason(exc))
        finally:
            self._client, self._opened = None, None
            if not opened.done():
                opened.set_result(None)

    async def _while_open(self, client: Client) -> None:
        """Read the list of tools again whenever it changed, until the connection is to be closed or was lost."""
        ended = self._process.ended if self._process is not None else asyncio.Event()
        listening = asyncio.create_task(self._listen(client))
        try:
            while not self._close.is_set() and not ended.is_set():
                waits = [asyncio.create_task(each.wait()) for each in (self._close, ended, self._changed)]
                try:
                    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for wait in waits:
                        wait.cancel()
                if self._changed.is_set() and not self._close.is_set() and not ended.is_set():
                    self._changed.clear()
                    async with asyncio.timeout(CONNECT_TIMEOUT_S):
                        await self._list(client)
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._close.wait(), RELIST_S)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def _listen(self, client: Client) -> None:
        """Follow changes on connections where a client has to subscribe to them."""
        with contextlib.suppress(*FAULTS):
            async with client.listen(tools_list_changed=True) as changes:
                async for _ in changes:
                    self._changed.set()

    async def _on_message(self, message: object) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            self._changed.set()

    @contextlib.asynccontextmanager
    async def _session(self) -> AsyncGenerator[Client, None]:
        server = self.configured.server
        async with contextlib.AsyncExitStack() as stack:
            if server.command:
                environ = clean_environment(self._environ, server.env)
                errors = self._home / FOLDER / "errors" / f"{self.name}.log"
                folder = Path(self.configured.folder)
                self._process = ServerProcess([server.command, *server.args], environ, folder, errors, self.name)
                target: Any = self._process.streams()
            else:
                login = login_of(self.configured, self._home)
                timeout = httpx2.Timeout(server.timeout, connect=CONNECT_TIMEOUT_S)
                connect = partial(server_client, server.url, os.environ)
                if server.type == "sse":
                    target = sse_client(
                        server.url,
                        headers=server.headers,
                        sse_read_timeout=server.timeout,
                        httpx_client_factory=connect,
                        auth=login,
                    )
                else:
                    client = connect(server.headers, timeout, login, also=[self._on_response])
                    http = await stack.enter_async_context(client)
                    target = streamable_http_client(server.url, http_client=http)
            info = types.Implementation(name="syntor", version=VERSION)
            yield await stack.enter_async_context(
                Client(
                    target,
                    read_timeout_seconds=server.timeout,
                    mode="legacy" if self._legacy else "auto",
                    elicitation_callback=self._on_elicit,
                    message_handler=self._on_message,
                    client_info=info,
                )
            )

    async def _on_response(self, response: httpx2.Response) -> None:
        narrow = "insufficient_scope" in response.headers.get("www-authenticate", "")
        if response.status_code == HTTPStatus.UNAUTHORIZED or narrow:
            self._needs_login = True
        elif str(response.url) == self.configured.server.url:
            self._needs_login = False

    async def _list(self, client: Client) -> None:
        """Read the list of tools; tools that cannot be used are left out, with the reason."""
        found: dict[str, Definition] = {}
        left_out: list[str] = []
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            page = await client.list_tools(cursor=cursor, cache_mode="refresh")
            for each in page.tools:
                shown = visible_line(each.name, 80)
                if len(found) >= MAX_TOOLS:
                    left_out.append(f"{shown}: at most {MAX_TOOLS} tools of a server are used")
                    continue
                try:
                    text = each.description or each.title or each.name
                    found.setdefault(each.name, definition(each.name, text, each.input_schema))
                except DefinitionError as exc:
                    left_out.append(f"{shown}: {exc}")
            cursor = page.next_cursor
            if not cursor or len(left_out) > MAX_TOOLS:
                break
        self._definitions, self.left_out = found, left_out[:20]

    async def _on_elicit(
        self, context: object, params: types.ElicitRequestParams
    ) -> types.ElicitResult | types.ErrorData:
        """Put a question of the server to a person; while it is open, the call that asks is cancelled."""
        call = _CALL.get() or (self._calls[0] if len(self._calls) == 1 else None)
        if call is None or call.ask is None:
            self._serial = self._serial or len(self._calls) > 1
            why = "no person can be asked now: " + ("several calls are in progress" if self._calls else "no call is")
            return types.ErrorData(code=types.INVALID_REQUEST, message=f"{why}; call the tool again")
        try:
            given = await call.ask(self._question(params))
        except (QuestionPendingError, ToolError) as exc:
            call.pending = exc
            call.stop.set()
            await asyncio.sleep(CONNECT_TIMEOUT_S)  # the server stops the call; else it learns why it gets no response
            return types.ErrorData(code=types.INVALID_REQUEST, message="the call was cancelled; it is made again later")
        except FormError as exc:
            return types.ErrorData(code=types.INVALID_PARAMS, message=f"the form cannot be shown: {exc}")
        if given.declined:
            return types.ElicitResult(action="cancel" if given.expired else "decline")
        if isinstance(params, types.ElicitRequestURLParams):
            return types.ElicitResult(action="accept")
        proposed = {
            field.name: field.default for field in fields_of(params.requested_schema) if field.default is not None
        }
        return types.ElicitResult(action="accept", content=proposed | given.values)

    def _question(self, params: types.ElicitRequestParams) -> Question:
        by = f"mcp:{self.name}"
        if isinstance(params, types.ElicitRequestURLParams):
            text = f"{visible(params.message)}\nThe server asks you to open {visible(params.url)}"
            return Question(text=text, asked_by=by, choices=["I opened it"], other=False)
        form = dict(params.requested_schema)
        fields_of(form)
        return Question(text=visible(params.message), asked_by=by, form=form)

    def _fail(self, problem: str) -> None:
        lasted = time.monotonic() - self._began > STABLE_S
        self._failures = 1 if lasted else self._failures + 1
        pause = min(RETRY_FIRST_S * 2 ** (self._failures - 1), RETRY_LAST_S)
        self._retry_at = time.monotonic() + pause
        self.problem = problem
        get_logger().warning("mcp_server_unavailable", server=self.name, problem=problem, retry_after_s=pause)

    def _reason(self, exc: BaseException) -> str:
        if self._process is not None:
            parts = [self._process.cut_off or reason(exc)]
            if self._process.last_words:
                parts.append(f"its last words: {self._process.last_words}")
            return "; ".join(parts)
        text = reason(exc)
        login = self._needs_login or "401" in text
        return f"it requires a login; log in with: syntor mcp login {self.name}" if login else text

    def _why(self) -> str:
        return f": {self.problem}" if self.problem else ""
