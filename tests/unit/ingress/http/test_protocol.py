"""What a request sends besides its body is bounded: more is refused with 431 before anything of it is looked at."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from starlette.types import Receive, Scope, Send

from syntor.ingress.http.connections import ConnectionLimits
from syntor.ingress.http.server import HttpServer, bind

WAIT_S = 20.0
LIMIT = 16 * 1024
Client = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class Application:
    """Reads the body, responds with the number of its bytes, and keeps the scopes of the requests it was given."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.disconnected = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        self.scopes.append(scope)
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.disconnected.set()
                return
            size, more = size + len(message["body"]), message["more_body"]
        text = b"%d" % size
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(text))]})
        await send({"type": "http.response.body", "body": text})


@pytest.fixture
def application() -> Application:
    """The application behind the server."""
    return Application()


@pytest.fixture
async def connect(application: Application) -> AsyncIterator[Client]:
    """Opens a connection to a server with a limit of 16 KiB."""
    server = HttpServer(application, bind("127.0.0.1", 0), limits=ConnectionLimits(head_bytes=LIMIT))
    serving = asyncio.ensure_future(server.run_until_stopped())
    opened: list[asyncio.StreamWriter] = []

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        opened.append(writer)
        return reader, writer

    yield connect
    for writer in opened:
        writer.close()
    server.stop()
    await asyncio.wait_for(serving, WAIT_S)


async def response_to(client: Client, *parts: bytes) -> bytes:
    """Send all parts, then read until the server closes."""
    reader, writer = await client()
    for part in parts:
        writer.write(part)
        await asyncio.wait_for(writer.drain(), WAIT_S)
    return await asyncio.wait_for(reader.read(), WAIT_S)


START = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
MEBIBYTE = b"x" * 1024 * 1024
CHUNKED = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"
HEADS = {
    "one header": (START + b"A: ", *[MEBIBYTE] * 64),
    "one name": (START, *[MEBIBYTE] * 64),
    "many headers": (START, *[b"A: b\r\n" * 100_000] * 100),
    "target": (b"GET /", *[MEBIBYTE] * 64),
    "empty lines before it": (*[b"\r\n" * 500_000] * 64,),
    "complete in one read": (START + b"A: " + b"x" * LIMIT + b"\r\n\r\n",),
    "trailers": (CHUNKED + b"T: ", *[MEBIBYTE] * 64),
    "many trailers": (CHUNKED, *[b"T: b\r\n" * 100_000] * 100),
}


@pytest.mark.parametrize("parts", list(HEADS.values()), ids=list(HEADS))
async def test_a_head_of_many_megabytes_is_refused_with_bounded_memory(
    connect: Client, application: Application, parts: tuple[bytes, ...]
) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    response = await response_to(connect, *parts)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert response.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert b"application/problem+json" in response
    assert b'"code":"head_too_large"' in response
    assert b"connection: close" in response
    assert grown < 24 * 1024, f"{grown} KiB more"
    assert [scope["method"] for scope in application.scopes] in ([], ["POST"])  # the latter has a body, then trailers


async def test_what_is_not_http_is_refused_while_the_client_still_sends(connect: Client) -> None:
    response = await response_to(connect, b"\x16\x03\x01", *[MEBIBYTE] * 16)
    assert response.startswith(b"HTTP/1.1 400 ")
    assert b'"code":"invalid_input"' in response


async def test_a_head_within_the_limit_is_served_and_the_next_one_counts_anew(connect: Client) -> None:
    reader, writer = await connect()
    for _ in range(3):
        writer.write(START + b"A: " + b"x" * (LIMIT - 200) + b"\r\n\r\n")
        assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n0"), WAIT_S)


async def test_a_large_body_is_not_taken_for_a_head(connect: Client) -> None:
    reader, writer = await connect()
    writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (8 * len(MEBIBYTE)))
    for _ in range(8):
        writer.write(MEBIBYTE)
    assert (await asyncio.wait_for(reader.readuntil(b"8388608"), WAIT_S)).startswith(b"HTTP/1.1 200")
    writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(2 * LIMIT):
        writer.write(b"1\r\nx\r\n")
    writer.write(b"0\r\n\r\n")
    assert (await asyncio.wait_for(reader.readuntil(b"32768"), WAIT_S)).startswith(b"HTTP/1.1 200")


async def test_trailers_do_not_become_headers(connect: Client, application: Application) -> None:
    reader, writer = await connect()
    writer.write(CHUNKED + b"Authorization: Bearer x\r\n\r\n")
    assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n3"), WAIT_S)).startswith(b"HTTP/1.1 200")
    assert not [name for name, _ in application.scopes[0]["headers"] if name == b"authorization"]


async def test_a_refusal_is_not_taken_for_the_response_to_the_request_before(
    connect: Client,
) -> None:
    reader, writer = await connect()
    writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    await asyncio.wait_for(reader.readuntil(b"100 Continue\r\n\r\n"), WAIT_S)
    writer.write(b"abcde" + START + b"A: ")
    for _ in range(16):
        writer.write(MEBIBYTE)
    response = await asyncio.wait_for(_until_closed(reader), WAIT_S)
    assert response == b"" or response.startswith(b"HTTP/1.1 200 ")


async def _until_closed(reader: asyncio.StreamReader) -> bytes:
    received = b""
    try:
        while part := await reader.read(65536):
            received += part
    except ConnectionResetError:
        pass
    return received
