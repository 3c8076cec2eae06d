"""The tool that makes an HTTP request: http_request.

An approval shows all that leaves: method, URL, headers and body. Requests never reach Syntor's own services.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import re
from pathlib import Path
from typing import Annotated
from urllib.parse import SplitResult, urlsplit, urlunsplit

import msgspec
from msgspec import Meta

from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.tools.tool import MAX_OUTPUT_CHARACTERS, Tool, ToolRun, bounded
from syntor.contracts.errors import NotReachableError, RejectionError
from syntor.runtime.outgoing import AddressRules, names_loopback, stack_ports

TIMEOUT_S = 30.0
MAX_BODY_BYTES = 1024 * 1024
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_OF_THE_CLIENT = frozenset({"host", "content-length", "transfer-encoding", "connection", "te", "upgrade"})
_SECRET = re.compile(r"auth|cookie|token|secret|password|key|credential", re.IGNORECASE)
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]|[^\x00-\x7f]")  # parsers differ in what they make of these


class HttpRequest(msgspec.Struct, frozen=True):
    """Arguments of http_request."""

    url: Annotated[str, Meta(description="Such as https://host/path")]
    method: Annotated[str, Meta(description="GET, HEAD, POST, PUT, PATCH or DELETE")] = "GET"
    headers: Annotated[dict[str, str], Meta(description="Headers by name")] = {}
    body: Annotated[str, Meta(description="Body, as text")] = ""


async def http_request(run: ToolRun, arguments: HttpRequest) -> str:
    """Make a request; return status, content type and text. Redirects are shown, not followed."""
    method, url = arguments.method.upper(), urlunsplit(_address(arguments))
    headers = _headers(arguments, run.key)
    await asyncio.to_thread(importlib.import_module, "httpx2")  # on first use 10 MB, and 0.2 s the loop must not miss
    import httpx2

    from syntor.runtime.checked_http import CheckedTransport

    rules = AddressRules(closed_ports=stack_ports(os.environ), named_loopback_only=True)
    kept = bytearray()
    try:
        async with (
            httpx2.AsyncClient(
                timeout=TIMEOUT_S, follow_redirects=False, trust_env=False, transport=CheckedTransport(rules)
            ) as client,
            client.stream(method, url, headers=headers, content=arguments.body or None) as response,
        ):
            async for chunk in response.aiter_bytes():
                kept += chunk
                if len(kept) > MAX_BODY_BYTES:
                    break
    except (RejectionError, NotReachableError) as exc:
        raise ToolError(str(exc)) from exc
    except (httpx2.HTTPError, httpx2.InvalidURL) as exc:
        raise ToolError(f"{method} {url}: {exc or type(exc).__name__}") from exc
    location = response.headers.get("location", "")
    head = f"HTTP {response.status_code}" + (f", location: {location}" if location else "")
    kind = response.headers.get("content-type", "")
    text = bytes(kept[: 4 * MAX_OUTPUT_CHARACTERS]).decode(response.charset_encoding or "utf-8", "replace")
    if "\0" in text:
        text = f"({len(kept)} bytes, not text)"
    return f"{head}, {kind}\n{bounded(text)}" if kind else f"{head}\n{bounded(text)}"


def _address(arguments: HttpRequest) -> SplitResult:
    """Return the URL of a request in the one form that is judged, shown and requested.

    Raises:
        ToolError: method or URL cannot be used.
    """
    if arguments.method.upper() not in _METHODS:
        raise ToolError(f"method {arguments.method!r}: use one of {', '.join(_METHODS)}")
    if found := _UNSAFE.search(arguments.url):
        raise ToolError(f"url {arguments.url!r}: {found[0]!r} is not allowed in a URL; percent-encode it")
    try:
        address = urlsplit(arguments.url)
        port = address.port
    except ValueError as exc:
        raise ToolError(f"url {arguments.url!r}: {exc}") from exc
    if address.scheme not in ("http", "https") or not address.hostname:
        raise ToolError(f"url {arguments.url!r}: use http://host/ or https://host/")
    if "@" in address.netloc:
        raise ToolError(f"url {arguments.url!r}: no user or password in the URL; send them in a header")
    host = f"[{address.hostname}]" if ":" in address.hostname else address.hostname
    netloc = host if port is None else f"{host}:{port}"
    return address._replace(netloc=netloc, path=address.path or "/", fragment="")


def _headers(arguments: HttpRequest, key: str) -> dict[str, str]:
    """Return the headers of a request.

    Raises:
        ToolError: one is for the HTTP client to set.
    """
    for name in arguments.headers:
        if name.strip().lower() in _OF_THE_CLIENT:
            raise ToolError(f"header {name!r} is set by the HTTP client; leave it out")
    return arguments.headers if arguments.method.upper() == "GET" else {"Idempotency-Key": key, **arguments.headers}


def _subject(arguments: HttpRequest) -> str:
    try:
        url = urlunsplit(_address(arguments))
    except ToolError:  # the call fails when it is run
        url = arguments.url
    return f"{arguments.method.upper()} {url}"


def _risk(arguments: HttpRequest) -> str:
    try:
        local = names_loopback(_address(arguments).hostname or "")
    except ToolError:
        return ""
    return "calls a program on this machine" if local else ""


def _shown(workspace: Path, arguments: HttpRequest) -> str:
    """Return all that would leave: request line, headers and body; of headers that may be secret the length only."""
    lines = [_subject(arguments)]
    for name, value in arguments.headers.items():
        lines.append(f"{name}: " + (f"({len(value)} characters, hidden)" if _SECRET.search(name) else value))
    if arguments.method.upper() != "GET":
        lines.append("Idempotency-Key: (one of this call, set by Syntor)")
    if arguments.body:
        lines += [f"body, {len(arguments.body.encode('utf-8', 'replace'))} bytes:", arguments.body, "(end of the body)"]
    return "\n".join(lines)


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
        subject=_subject,
        risk=_risk,
    ),
)
