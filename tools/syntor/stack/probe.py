"""Probes a health address with plain asyncio: the supervisor loads no HTTP client."""

from __future__ import annotations

import asyncio
import re

import msgspec

_PID = re.compile(rb"\r\nX-Syntor-Pid: (\d{1,10})\r\n", re.IGNORECASE)
_LIMIT_BYTES = 256 * 1024


class Answer(msgspec.Struct, frozen=True):
    """Response of a health address."""

    status: int
    """0: there is none."""
    body: str
    """Or the reason why there is none."""
    pid: int = 0
    """Process that sent it, as a service of Syntor says; 0: it does not say."""


async def get(host: str, port: int, target: str, timeout_s: float) -> Answer:
    """Return the response to a request."""
    try:
        async with asyncio.timeout(timeout_s):
            return await _get(host, port, target)
    except TimeoutError:
        return Answer(0, f"no response within {timeout_s:g} s")
    except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as exc:
        return Answer(0, "connection refused" if isinstance(exc, ConnectionRefusedError) else str(exc))


async def _get(host: str, port: int, target: str) -> Answer:
    reader, writer = await asyncio.open_connection(host, port, limit=_LIMIT_BYTES)
    try:
        request = f"GET {target} HTTP/1.0\r\nHost: {host}:{port}\r\n\r\n"  # 1.0: no chunks
        writer.write(request.encode("ascii"))
        response = await reader.read(_LIMIT_BYTES)
        while not reader.at_eof() and len(response) < _LIMIT_BYTES:
            response += await reader.read(_LIMIT_BYTES)
    finally:
        writer.close()
    head, _, body = response.partition(b"\r\n\r\n")
    pid = _PID.search(head + b"\r\n")
    status = int(head.split(b" ", 2)[1]) if head.startswith(b"HTTP/") else 0
    return Answer(status, body.decode("utf-8", "replace"), int(pid[1]) if pid else 0)


def failing_checks(body: str) -> str:
    """Return the failing checks of a /readyz body on one line."""
    bad = [line[4:] for line in body.splitlines() if line.startswith("[-]")]
    return "; ".join(bad) or body.strip().splitlines()[0] if body.strip() else "no response"
