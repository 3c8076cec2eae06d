"""HTTP to MCP servers: which addresses, and how much; the client library keeps a whole response in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

import httpx2

from syntor.runtime.checked_http import checked_client
from syntor.runtime.outgoing import AddressRules, stack_ports

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


def server_client(
    url: str,
    environ: Mapping[str, str],
    headers: Any = None,
    timeout: Any = None,
    auth: Any = None,
    also: Sequence[Callable[[httpx2.Response], Awaitable[None]]] = (),
) -> httpx2.AsyncClient:
    """Return an HTTP client for a server: its addresses are judged, and what it sends is bounded.

    Args:
        environ: of this process; names the stack, whose own ports are no servers.
        also: event hooks for responses besides the bounds.

    Raises:
        RefusedAddressError: the URL has an address that may not be called.
        ConfigurationError: the proxy's scheme is not supported.
    """
    return checked_client(
        url,
        AddressRules(closed_ports=stack_ports(environ)),
        headers={**PLAIN, **(headers or {})},
        timeout=timeout,
        auth=auth,
        event_hooks={"response": [*also, bound_response]},
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
