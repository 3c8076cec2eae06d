"""The tool that makes an HTTP request: http_request."""

from __future__ import annotations

import asyncio
import importlib
import ipaddress
import socket
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.tools.tool import MAX_OUTPUT_CHARACTERS, Tool, ToolRun, bounded

TIMEOUT_S = 30.0
MAX_BODY_BYTES = 1024 * 1024
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


class HttpRequest(msgspec.Struct, frozen=True):
    """Arguments of http_request."""

    url: Annotated[str, Meta(description="Such as https://host/path")]
    method: Annotated[str, Meta(description="GET, HEAD, POST, PUT, PATCH or DELETE")] = "GET"
    headers: Annotated[dict[str, str], Meta(description="Headers by name")] = {}
    body: Annotated[str, Meta(description="Body, as text")] = ""


async def http_request(run: ToolRun, arguments: HttpRequest) -> str:
    """Make a request; return status, content type and text. Redirects are shown, not followed."""
    await asyncio.to_thread(importlib.import_module, "httpx2")  # on first use 10 MB, and 0.2 s the loop must not miss
    import httpx2

    method = arguments.method.upper()
    if method not in _METHODS:
        raise ToolError(f"method {arguments.method!r}: use one of {', '.join(_METHODS)}")
    address = urlsplit(arguments.url)
    if address.scheme not in ("http", "https") or not address.hostname:
        raise ToolError(f"url {arguments.url!r}: use http://host/ or https://host/")
    await _check_host(address.hostname, address.port or (443 if address.scheme == "https" else 80))
    headers = arguments.headers if method == "GET" else {"Idempotency-Key": run.key, **arguments.headers}
    kept = bytearray()
    try:
        async with (
            httpx2.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False) as client,
            client.stream(method, arguments.url, headers=headers, content=arguments.body or None) as response,
        ):
            async for chunk in response.aiter_bytes():
                kept += chunk
                if len(kept) > MAX_BODY_BYTES:
                    break
    except (httpx2.HTTPError, httpx2.InvalidURL) as exc:
        raise ToolError(f"{method} {arguments.url}: {exc or type(exc).__name__}") from exc
    location = response.headers.get("location", "")
    head = f"HTTP {response.status_code}" + (f", location: {location}" if location else "")
    kind = response.headers.get("content-type", "")
    text = bytes(kept[: 4 * MAX_OUTPUT_CHARACTERS]).decode(response.charset_encoding or "utf-8", "replace")
    if "\0" in text:
        text = f"({len(kept)} bytes, not text)"
    return f"{head}, {kind}\n{bounded(text)}" if kind else f"{head}\n{bounded(text)}"


async def _check_host(host: str, port: int) -> None:
    """Refuse addresses of cloud metadata services, which return credentials."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as exc:
        raise ToolError(f"{host}: {exc.strerror or exc}") from exc
    for *_, address in found:
        if ipaddress.ip_address(str(address[0]).partition("%")[0]).is_link_local:
            raise ToolError(f"{host} is a link-local address; requests to it are refused")


def _shown(workspace: Path, arguments: HttpRequest) -> str:
    return f"{arguments.method.upper()} {arguments.url}\n{arguments.body}".rstrip()


HTTP_TOOLS = (
    Tool(
        name="http_request",
        description="Make an HTTP request and return status and text.",
        arguments=HttpRequest,
        run=http_request,
        paths=lambda arguments: [],
        effect="network",
        repeatable=False,
        preview=_shown,
        subject=lambda arguments: f"{arguments.method.upper()} {arguments.url}",
    ),
)
