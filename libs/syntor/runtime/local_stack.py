"""Finds the local stack of a home folder, and has its supervisor start a service that runs only when it is needed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from syntor.contracts.decoding import UNDECODABLE

RESPONSE_TIMEOUT_S = 5.0


class StackAddress(msgspec.Struct, frozen=True):
    """The parts of a stack's state file that a service of its own needs."""

    nats_url: str
    durability: Literal["durable", "fast"] = "durable"
    log_folder: str = ""


def read_address(home: Path) -> StackAddress | None:
    """Return the address of the stack that runs for a home folder; None: none runs that has a NATS of its own."""
    try:
        return msgspec.json.decode((home / "run" / "stack.json").read_bytes(), type=StackAddress)
    except (OSError, *UNDECODABLE):
        return None


async def start_service(name: str, environ: Mapping[str, str]) -> str:
    """Request the start of a service; one that runs already is left alone.

    Args:
        environ: where the supervisor left its address, `SYNTOR_STACK_URL` and `SYNTOR_STACK_TOKEN`; without them
            there is no supervisor, and services are started by their operator.

    Returns:
        The problem, or an empty text.
    """
    url, token = environ.get("SYNTOR_STACK_URL", ""), environ.get("SYNTOR_STACK_TOKEN", "")
    if not url:
        return ""
    address = urlsplit(url)
    try:
        async with asyncio.timeout(RESPONSE_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(address.hostname, address.port)
            try:
                writer.write(
                    f"POST /start/{name} HTTP/1.1\r\nHost: {address.netloc}\r\n"
                    f"Authorization: Bearer {token}\r\nConnection: close\r\n\r\n".encode()
                )
                status = (await reader.readline()).decode("ascii", "replace").strip()
            finally:
                writer.close()
    except (OSError, TimeoutError) as exc:
        return f"the supervisor at {url} does not respond: {exc or 'timeout'}"
    return "" if " 202 " in status else f"the supervisor at {url} responded {status!r}"
