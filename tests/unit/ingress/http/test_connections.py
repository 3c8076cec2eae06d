"""Clients that send half a request, or read nothing, take no place from others for long."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from syntor.ingress.http.addresses import network_of
from syntor.ingress.http.connections import ConnectionLimits
from syntor.ingress.http.server import HttpServer, bind

WAIT_S = 20.0
SOON_S = 0.3
HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
WHOLE = HEAD + b"\r\n"
HALF_BODY = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nab"
EARLY = HALF_BODY.replace(b" / ", b" /early ")
Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class Application:
    """Reads the body and responds; on /early it responds first, on /endless without end."""

    def __init__(self) -> None:
        self.disconnects = asyncio.Semaphore(0)
        self.sent = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["path"] == "/endless":
            await self._endless(send, receive)
            return
        more = scope["path"] != "/early"
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.disconnects.release()
                return
            more = message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async def _endless(self, send: Send, receive: Receive) -> None:
        await receive()
        gone = asyncio.ensure_future(receive())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not gone.done():
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            self.sent += 65536
            await asyncio.sleep(0)
        self.disconnects.release()


@asynccontextmanager
async def serving(application: Application, **limits: Any) -> AsyncGenerator[Connect, None]:
    """Serve with some limits; yields what opens a connection."""
    server = HttpServer(application, bind("127.0.0.1", 0), limits=ConnectionLimits(**limits))
    running = asyncio.ensure_future(server.run_until_stopped())
    writers: list[asyncio.StreamWriter] = []

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writers.append(writer)
        return reader, writer

    try:
        yield connect
    finally:
        for writer in writers:
            writer.close()
        server.stop()
        await asyncio.wait_for(running, WAIT_S)


async def until_closed(reader: asyncio.StreamReader) -> bytes:
    """Return all that is sent until the server closes; on a slow machine it may have before the client sends."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while part := await asyncio.wait_for(reader.read(65536), WAIT_S):
            received += part
    return received


@pytest.mark.parametrize("part", [HEAD, HALF_BODY], ids=["head", "body"])
async def test_half_a_request_is_refused_in_time_and_its_application_told(part: bytes) -> None:
    application = Application()
    async with serving(application, head_s=SOON_S * 5, body_s=SOON_S) as connect:
        reader, writer = await connect()
        writer.write(part)
        response = await until_closed(reader)
        assert response.startswith(b"HTTP/1.1 408 "), response
        assert b'"code":"request_timeout"' in response
        assert b"x-trace-id" in response
        if part == HALF_BODY:
            await asyncio.wait_for(application.disconnects.acquire(), WAIT_S)


async def test_bytes_that_arrive_one_by_one_do_not_extend_the_time() -> None:
    async with serving(Application(), head_s=SOON_S) as connect:
        reader, writer = await connect()
        received = asyncio.ensure_future(reader.read())
        sent = 0
        writer.write(HEAD + b"A: ")
        while not received.done():
            writer.write(b"b")
            sent += 1
            await asyncio.wait([received], timeout=SOON_S / 10)
            assert sent < WAIT_S * 100
        assert received.result().startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("sent", [b"", b"\r\n"], ids=["nothing", "an empty line"])
async def test_a_connection_without_a_request_is_closed(sent: bytes) -> None:
    async with serving(Application(), head_s=SOON_S) as connect:
        reader, writer = await connect()
        writer.write(sent)
        assert b"200" not in await until_closed(reader)


async def test_a_body_that_does_not_end_after_the_response_closes_without_a_second_one() -> None:
    async with serving(Application(), body_s=SOON_S) as connect:
        reader, writer = await connect()
        writer.write(EARLY)
        response = await until_closed(reader)
        assert response.startswith(b"HTTP/1.1 200 ")
        assert response.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("part", [b"", HEAD, HALF_BODY], ids=["nothing", "head", "body"])
async def test_of_too_many_unfinished_requests_the_oldest_gives_way(part: bytes) -> None:
    async with serving(Application(), unfinished=5, young_s=SOON_S) as connect:
        waiting = []
        for _ in range(8):
            reader, writer = await connect()
            writer.write(part)
            waiting.append(reader)
        for reader in waiting[:3]:
            response = await until_closed(reader)
            assert response.startswith(b"HTTP/1.1 408 ") if part else response == b""
        reader, writer = await connect()
        writer.write(WHOLE)
        assert (await asyncio.wait_for(reader.readuntil(b"ok"), WAIT_S)).startswith(b"HTTP/1.1 200 ")
        assert not waiting[-1].at_eof()


async def test_a_crowd_that_connects_at_the_same_moment_is_served() -> None:
    async with serving(Application(), unfinished=5) as connect:
        crowd = await asyncio.gather(*(connect() for _ in range(50)))
        for _, writer in crowd:
            writer.write(WHOLE)
        for reader, _ in crowd:
            assert (await asyncio.wait_for(reader.readuntil(b"ok"), WAIT_S)).startswith(b"HTTP/1.1 200 ")


async def test_more_connections_than_an_address_may_have_are_refused_until_one_closes() -> None:
    async with serving(Application(), per_address=3) as connect:
        kept = [await connect() for _ in range(3)]
        for reader, writer in kept:
            writer.write(WHOLE)
            await asyncio.wait_for(reader.readuntil(b"ok"), WAIT_S)
        reader, _ = await connect()
        response = await until_closed(reader)
        assert response.startswith(b"HTTP/1.1 503 ")
        assert b"3 connections already" in response
        kept[0][1].close()
        for _ in range(200):  # the server learns of the close a moment later
            reader, writer = await connect()
            writer.write(WHOLE)
            if (await asyncio.wait_for(reader.read(12), WAIT_S)) == b"HTTP/1.1 200":
                break
            await asyncio.sleep(0.01)
        else:
            pytest.fail("no connection is accepted after one was closed")


async def test_a_connection_that_is_kept_alive_may_be_idle_between_requests() -> None:
    async with serving(Application(), head_s=SOON_S, body_s=SOON_S) as connect:
        reader, writer = await connect()
        for _ in range(2):
            writer.write(WHOLE)
            assert (await asyncio.wait_for(reader.readuntil(b"ok"), WAIT_S)).startswith(b"HTTP/1.1 200 ")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), SOON_S * 2)


async def test_a_client_that_reads_nothing_is_disconnected_and_its_application_told() -> None:
    application = Application()
    async with serving(application, unread_s=SOON_S) as connect:
        _, writer = await connect()
        transport: Any = writer.transport
        transport.pause_reading()
        writer.write(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await asyncio.wait_for(application.disconnects.acquire(), WAIT_S)
        assert application.sent < 64 * 2**20  # what kernels keep of a connection, no more


async def test_a_client_that_reads_slowly_is_served() -> None:
    application = Application()
    async with serving(application, unread_s=1.0) as connect:
        reader, writer = await connect()
        writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        writer.write(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = 0
        began = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() - began < 3.0:
            received += len(await asyncio.wait_for(reader.read(65536), WAIT_S))
            await asyncio.sleep(0.01)
        assert not reader.at_eof()
        assert received > 65536


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("", ""),
    ],
)
def test_addresses_of_one_client_count_together(host: str, network: str) -> None:
    assert network_of(host) == network
