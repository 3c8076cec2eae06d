"""Bounds of what an MCP server sends over HTTP: the client library keeps a whole response in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2

MAX_BODY_BYTES = 16 * 1024 * 1024  # of a response that is no stream of events
PLAIN = {"Accept-Encoding": "identity"}
"""Header of requests: a compressed response could become any size."""
_STREAM = "text/event-stream"


async def bound_response(response: httpx2.Response) -> None:
    """Bound the body of a response; an event hook of the HTTP client, called before the body is read.

    Raises:
        httpx2.ReadError: the response is compressed.
    """
    if response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        await response.aclose()
        raise httpx2.ReadError("the response is compressed although it was not to be")
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _STREAM and isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _Bounded(response.stream)


def sse_http_client(headers: Any = None, timeout: Any = None, auth: Any = None) -> httpx2.AsyncClient:
    """Return an HTTP client with these bounds, as the transport for server-sent events makes its own."""
    return httpx2.AsyncClient(
        headers={**PLAIN, **(headers or {})}, timeout=timeout, auth=auth, event_hooks={"response": [bound_response]}
    )


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            size += len(chunk)
            if size > MAX_BODY_BYTES:
                raise httpx2.ReadError(f"the response is larger than {MAX_BODY_BYTES // 2**20} MiB")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
