"""Reads request bodies: JSON, up to a size."""

from __future__ import annotations

import re
from contextlib import aclosing

from starlette.requests import Request

from syntor.ingress.http.errors import TooLargeError, UnsupportedMediaTypeError

MAX_BODY_BYTES = 1024 * 1024
DRAIN_BYTES = 8 * MAX_BODY_BYTES  # read and discarded before a 413, so that the client receives the response
_JSON = "application/json"
_MEDIA_TYPE = re.compile(
    r"application/(json|[a-z0-9!#$&^_.+-]+\+json)\s*(;\s*charset\s*=\s*\"?utf-?8\"?\s*)?;?\Z", re.IGNORECASE
)


async def read_body(request: Request) -> bytes:
    """Return the body of a request.

    Raises:
        TooLargeError: above 1 MiB, announced or not.
        UnsupportedMediaTypeError: its media type is not JSON.
        ClientDisconnect: the client closed its connection.
    """
    announced = request.headers.get("content-length", "")
    if len(announced) > 6 and announced.isdecimal() and int(announced) > MAX_BODY_BYTES:
        if "expect" not in request.headers:  # such a client sends its body only after 100 Continue
            await _drain(request)
        raise TooLargeError(f"the body has {int(announced)} bytes; the limit is {MAX_BODY_BYTES}")
    body = await _read(request)
    if body:
        _check_media_type(request)
    return body


async def _read(request: Request) -> bytes:
    parts: list[bytes] = []
    size = 0
    async with aclosing(request.stream()) as stream:
        async for part in stream:
            size += len(part)
            if size <= MAX_BODY_BYTES:
                parts.append(part)
            elif size > MAX_BODY_BYTES + DRAIN_BYTES:
                break
    if size > MAX_BODY_BYTES:
        raise TooLargeError(f"the body has more than {MAX_BODY_BYTES} bytes")
    return b"".join(parts)


async def _drain(request: Request) -> None:
    discarded = 0
    async with aclosing(request.stream()) as stream:
        async for part in stream:
            discarded += len(part)
            if discarded >= DRAIN_BYTES:
                break


def _check_media_type(request: Request) -> None:
    given = request.headers.get("content-type", "").strip()
    if given and _MEDIA_TYPE.match(given) is None:
        raise UnsupportedMediaTypeError(f"the body is {given}; send Content-Type: {_JSON}, in UTF-8")
    encoding = request.headers.get("content-encoding", "identity").strip()
    if encoding.lower() not in ("", "identity"):
        raise UnsupportedMediaTypeError(f"the body has the Content-Encoding {encoding}; send it as it is")
