"""A connection requests, subscribes, reconnects, detects a dead read loop, and always closes."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import Any, cast

import pytest

from syntor.contracts.errors import MalformedMessageError, NotReachableError
from syntor.jetstream.connection import Connection, Message, connect
from syntor.testing.nats_server import NatsServer

ON_BOTH = pytest.mark.parametrize("connection", ["real", "simulated"], indirect=True)

DEADLINE_S = 10.0


async def echo_on(connection: Connection, subject: str) -> None:
    async def echo(message: Message) -> None:
        await connection.publish(message.reply, message.payload, "", message.headers)

    await connection.subscribe(subject, echo)


@ON_BOTH
async def test_a_reply_carries_payload_and_headers(connection: Connection) -> None:
    await echo_on(connection, "echo")

    reply = await connection.request("echo", b"hello", headers={"A": "1"})

    assert (reply.payload, reply.headers) == (b"hello", {"A": "1"})


@ON_BOTH
async def test_concurrent_requests_get_their_own_replies(connection: Connection) -> None:
    await echo_on(connection, "echo")

    replies = await asyncio.gather(*(connection.request("echo", b"%d" % number) for number in range(500)))

    assert [reply.payload for reply in replies] == [b"%d" % number for number in range(500)]


@ON_BOTH
async def test_a_subject_without_responders_fails_immediately(connection: Connection) -> None:
    with pytest.raises(NotReachableError, match="no responders on unserved"):
        await connection.request("unserved", b"", timeout_s=60)


@ON_BOTH
async def test_a_missing_reply_fails_at_the_deadline(connection: Connection) -> None:
    async def silent(_: Message) -> None:
        """Do nothing."""

    await connection.subscribe("silent", silent)

    with pytest.raises(NotReachableError, match="no reply in time"):
        await connection.request("silent", b"", timeout_s=0.1)


async def test_a_message_that_is_too_large_is_refused_and_the_connection_stays_up(connection: Connection) -> None:
    with pytest.raises(MalformedMessageError):
        await connection.publish("large", b"x" * (8 * 1024 * 1024 + 1))

    await echo_on(connection, "echo")
    assert (await connection.request("echo", b"1")).payload == b"1"


async def test_a_raising_subscriber_is_logged_and_the_next_message_handled(
    connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    handled: asyncio.Queue[bytes] = asyncio.Queue()

    async def handle(message: Message) -> None:
        if message.payload == b"bad":
            raise RuntimeError("from a subscriber")
        handled.put_nowait(message.payload)

    await connection.subscribe("s", handle)
    await connection.publish("s", b"bad")
    await connection.publish("s", b"good")

    assert await asyncio.wait_for(handled.get(), DEADLINE_S) == b"good"
    assert "subscriber_failed" in caplog.text


@ON_BOTH
async def test_no_message_arrives_after_unsubscribing(connection: Connection) -> None:
    heard: list[bytes] = []
    subscription = await connection.subscribe_direct("s", lambda message: heard.append(message.payload))
    await connection.publish("s", b"1")
    await connection.flush()
    await subscription.unsubscribe()

    await connection.publish("s", b"2")
    await connection.flush()

    assert heard == [b"1"]


@ON_BOTH
async def test_draining_a_subscription_delivers_messages_sent_before(connection: Connection) -> None:
    heard: list[bytes] = []
    subscription = await connection.subscribe_direct("s", lambda message: heard.append(message.payload))
    for number in range(100):
        await connection.publish("s", b"%d" % number)

    await subscription.drain()

    assert len(heard) == 100


async def test_connecting_without_a_server_fails_with_the_cause(tmp_path: Path) -> None:
    server = NatsServer(tmp_path)  # never started: its port is free

    with pytest.raises(NotReachableError, match=f"no NATS server at {server.url}"):
        await connect(server.url, "syntor/test", connect_timeout_s=0.3)


async def test_wrong_credentials_are_named(tmp_path: Path) -> None:
    with (
        NatsServer(tmp_path, extra="authorization { user: u, password: p }") as server,
        pytest.raises(NotReachableError, match=r"(?i)authorization"),
    ):
        await connect(server.url, "syntor/test", connect_timeout_s=1)


async def test_subscriptions_survive_a_server_restart(nats_server: NatsServer, connection: Connection) -> None:
    await echo_on(connection, "echo")
    back = asyncio.Event()
    connection.on_reconnect(back.set)

    nats_server.restart()

    await asyncio.wait_for(back.wait(), DEADLINE_S)
    assert (await connection.request("echo", b"1")).payload == b"1"


async def test_pending_requests_fail_when_the_server_dies(nats_server: NatsServer, connection: Connection) -> None:
    requested = asyncio.Event()

    async def silent(_: Message) -> None:
        requested.set()

    await connection.subscribe("silent", silent)
    asking = asyncio.create_task(connection.request("silent", b"", timeout_s=60))
    await asyncio.wait_for(requested.wait(), DEADLINE_S)

    nats_server.kill()

    with pytest.raises(NotReachableError, match="broke"):
        await asyncio.wait_for(asking, DEADLINE_S)
    with pytest.raises(NotReachableError, match="not connected"):
        await connection.request("silent", b"", timeout_s=60)


async def test_a_pending_flush_fails_when_the_server_dies(nats_server: NatsServer, connection: Connection) -> None:
    nats_server.send(signal.SIGSTOP)
    flushing = asyncio.create_task(connection.flush(60))
    await asyncio.sleep(0)

    nats_server.kill()

    with pytest.raises(NotReachableError):
        await asyncio.wait_for(flushing, DEADLINE_S)


async def test_an_ended_read_loop_is_detected_and_the_connection_reopened(connection: Connection) -> None:
    await echo_on(connection, "echo")
    back = asyncio.Event()
    connection.on_reconnect(back.set)
    reading = cast("Any", connection._client)._reading_task
    assert reading is not None

    reading.cancel()

    await asyncio.wait_for(back.wait(), DEADLINE_S)
    assert (await connection.request("echo", b"1")).payload == b"1"


async def test_closing_sends_what_was_published(nats_server: NatsServer, connection: Connection) -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    await connection.subscribe_direct("s", lambda message: heard.put_nowait(message.payload))
    await connection.flush()
    other = await connect(nats_server.url, "syntor/other")
    for number in range(1000):
        await other.publish("s", b"%d" % number)

    await other.close()

    received = [await asyncio.wait_for(heard.get(), DEADLINE_S) for _ in range(1000)]
    assert received[-1] == b"999"
    assert other.closed.done()


async def test_closing_fails_pending_requests(nats_server: NatsServer) -> None:
    connection = await connect(nats_server.url, "syntor/test")

    async def silent(_: Message) -> None:
        """Do nothing."""

    await connection.subscribe("silent", silent)
    asking = asyncio.create_task(connection.request("silent", b"", timeout_s=60))
    await connection.flush()

    await connection.close()

    with pytest.raises(NotReachableError, match="closed"):
        await asking
    with pytest.raises(NotReachableError):
        await connection.request("silent", b"")
    assert not await connection.wait_connected(60)


@pytest.mark.parametrize("state", ["killed", "frozen", "frozen with a full socket"])
async def test_closing_never_hangs(nats_server: NatsServer, state: str) -> None:
    connection = await connect(nats_server.url, "syntor/test")
    if state == "killed":
        nats_server.kill()
    else:
        nats_server.send(signal.SIGSTOP)
    if state == "frozen with a full socket":
        for _ in range(7):  # within what the client keeps, above what the kernel does
            await connection.publish("flood", b"x" * 1024 * 1024)
    began = time.monotonic()

    await connection.close()

    assert time.monotonic() - began < DEADLINE_S
    assert connection.closed.done()
