"""The read loop survives what ends it in nats-py 2.16; each test names the behaviour that is replaced."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import Any

import nats.errors
import pytest
from nats.aio.client import Client

from syntor.jetstream.client import HardenedClient, Message
from syntor.testing.nats_server import NatsServer

DEADLINE_S = 10.0


async def no_error(_: Exception) -> None:
    """Ignore."""


async def opened(server: NatsServer, on_error: Any = no_error) -> HardenedClient:
    client = HardenedClient()
    await client.open(on_error, servers=[server.url], max_reconnect_attempts=-1, reconnect_time_wait=0.05)
    return client


async def still_receives(client: HardenedClient) -> bool:
    """Return whether messages still arrive."""
    heard = asyncio.Event()
    await client.subscribe_direct("probe", lambda _: heard.set())
    await client.publish("probe", b"")
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(heard.wait(), 2)
    return heard.is_set() and not client.read_loop_ended()


async def test_a_pong_for_a_cancelled_flush_is_ignored(nats_server: NatsServer) -> None:
    client = await opened(nats_server)
    flushing = asyncio.create_task(client.flush())
    await asyncio.sleep(0)  # its PING is on the way
    flushing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await flushing

    await client.flush()

    assert await still_receives(client)
    await client.close()


async def test_the_library_itself_still_fails_on_a_pong_for_a_cancelled_flush(
    nats_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    """When this fails, nats-py is fixed and `_process_pong` can be removed."""
    client = Client()
    await client.connect(nats_server.url)
    flushing = asyncio.create_task(client.flush())
    await asyncio.sleep(0)
    flushing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await flushing
    reading = client._reading_task
    assert reading is not None

    await asyncio.wait([reading], timeout=2)

    assert reading.done()
    assert client.is_connected
    await client.close()


async def test_a_flush_ends_after_what_was_published_before_it(nats_server: NatsServer) -> None:
    client = await opened(nats_server)
    heard: list[Message] = []
    await client.subscribe_direct("s", heard.append)
    for _ in range(500):
        await client.publish("s", b"")

    await client.flush()

    assert len(heard) == 500
    await client.close()


async def test_a_raising_error_callback_is_logged(nats_server: NatsServer, caplog: pytest.LogCaptureFixture) -> None:
    async def raising(_: Exception) -> None:
        raise RuntimeError("from the error callback")

    client = await opened(nats_server, raising)
    slow: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def blocked(_: Any) -> None:
        await slow

    await client.subscribe("flood", cb=blocked, pending_msgs_limit=1)  # the second message waiting calls error_cb
    for _ in range(5):
        await client.publish("flood", b"")
    await client.flush()

    assert await still_receives(client)
    assert "error_callback_failed" in caplog.text
    slow.set_result(None)
    await client.close()


async def test_a_raising_message_callback_is_logged(nats_server: NatsServer, caplog: pytest.LogCaptureFixture) -> None:
    client = await opened(nats_server)

    def raising(_: Message) -> None:
        raise RuntimeError("from the message callback")

    await client.subscribe_direct("bad", raising)
    await client.publish("bad", b"")
    await client.flush()

    assert await still_receives(client)
    assert "callback_failed" in caplog.text
    await client.close()


async def test_a_message_over_the_maximum_payload_is_refused_counting_its_headers(nats_server: NatsServer) -> None:
    client = await opened(nats_server)
    limit = client.max_payload

    await client.publish("large", b"x" * limit)
    with pytest.raises(nats.errors.MaxPayloadError):
        await client.publish("large", b"x" * limit, headers={"A": "1"})

    assert await still_receives(client)
    await client.close()


async def test_a_frozen_server_with_a_full_socket_does_not_block_a_reconnect(nats_server: NatsServer) -> None:
    gone = asyncio.Event()
    client = HardenedClient()

    async def disconnected() -> None:
        gone.set()

    await client.open(
        no_error,
        servers=[nats_server.url],
        disconnected_cb=disconnected,
        max_reconnect_attempts=-1,
        pending_size=64 * 1024 * 1024,
    )
    nats_server.send(signal.SIGSTOP)
    for _ in range(16):  # more than the kernel's buffers of both ends
        await client.publish("flood", b"x" * 1024 * 1024)

    await client.force_reconnect()

    await asyncio.wait_for(gone.wait(), DEADLINE_S)
    nats_server.send(signal.SIGCONT)
    await asyncio.wait_for(client.close(), DEADLINE_S)
