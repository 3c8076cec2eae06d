"""One connection to NATS: publish, subscribe, request. Reconnects indefinitely; requests fail while it is down.

All replies arrive on one wildcard inbox: the last token of a reply's subject, a counter, identifies its
request. While requests wait, a sweep fails those whose deadline has passed.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import nats.errors

from syntor.contracts.errors import MalformedMessageError, NotReachableError
from syntor.jetstream.access import NO_CREDENTIALS, Access
from syntor.jetstream.client import Callback, Client, ClientSubscription, HardenedClient, Message

__all__ = ["Connection", "Message", "Server", "Subscription", "connect"]

PING_INTERVAL_S = 10  # a dead peer is noticed after two missed PONGs; the library's 120 s would take minutes
RECONNECT_WAIT_S = 0.1  # between attempts at the same server
BUFFER_BYTES = 8 * 1024 * 1024
CLOSE_TIMEOUT_S = 1.0  # for the flush before closing; a dead or frozen server does not delay the process further
_SWEEP_EVERY_S = 0.25
_WATCH_EVERY_S = 1.0
_log = logging.getLogger("syntor.jetstream")


class Server(msgspec.Struct, frozen=True):
    """The parts of a server's INFO that are looked at."""

    version: str = ""
    auth_required: bool = False
    tls_required: bool = False
    jetstream: bool = False


class Subscription:
    """A subscription; `unsubscribe` or `drain` ends it."""

    def __init__(
        self, client: Client, sid: int, inner: ClientSubscription, flush: Callable[[float], Awaitable[None]]
    ) -> None:
        self._client, self._sid, self._inner, self._flush = client, sid, inner, flush

    async def unsubscribe(self) -> None:
        """End the subscription; messages in flight are dropped."""
        self._client.direct.pop(self._sid, None)
        with contextlib.suppress(nats.errors.Error, OSError):
            await self._inner.unsubscribe()

    async def drain(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """End the subscription; messages the server sent before it processed the UNSUB still reach the callback."""
        with contextlib.suppress(nats.errors.Error, OSError, NotReachableError):
            await self._inner.unsubscribe()
            await self._flush(timeout_s)
        self._client.direct.pop(self._sid, None)


class Connection:
    """A connection made by `connect`."""

    def __init__(self, client: Client, url: str, name: str) -> None:
        self.url = url
        self.name = name
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the connection is closed and will not reconnect."""
        self.refuses_writes: Callable[[], str] = lambda: ""
        """Returns why an append would fail, where that is known beforehand; empty: it may succeed."""
        self._client = client
        self._prefix = ""
        self._tokens = itertools.count(1)
        self._waiting: dict[str, tuple[asyncio.Future[Any], float]] = {}
        self._many: dict[str, Callback] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self._listeners: list[Callable[[], None]] = []
        self._connected = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._running: set[asyncio.Future[None]] = set()

    @property
    def is_connected(self) -> bool:
        """Whether the connection is up, as far as is known."""
        return self._client.is_connected

    @property
    def server(self) -> Server:
        """What the server last connected to says about itself."""
        return msgspec.convert(self._client.server_info, Server)

    async def start(self) -> None:
        """Subscribe the reply inbox and start the watchers; `connect` does this."""
        self._connected.set()
        self._prefix = self._client.new_inbox() + "."
        await self.subscribe_direct(self._prefix + "*", self._on_reply)
        self._tasks = [asyncio.create_task(self._watch())]

    def on_reconnect(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after each reconnect; return a function that removes it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    async def wait_connected(self, timeout_s: float) -> bool:
        """Wait until connected; return False on a timeout, or when the connection was closed."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._connected.wait(), timeout_s)
        return self.is_connected

    @property
    def max_payload(self) -> int:
        """Bytes the server takes in one message, headers included."""
        return self._client.max_payload

    async def publish(
        self, subject: str, payload: bytes, reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """Send a message, unconfirmed; while the connection is down it is buffered, and sent after the reconnect.

        Raises:
            NotReachableError: the connection is closed, or down with a full buffer.
            MalformedMessageError: the server would refuse the message: too large, or an invalid subject.
        """
        try:
            await self._client.publish(subject, payload, reply, headers)
        except (nats.errors.MaxPayloadError, nats.errors.BadSubjectError) as exc:
            raise MalformedMessageError(f"{len(payload)} bytes for {subject!r} cannot be sent: {exc}") from exc
        except (nats.errors.Error, OSError) as exc:
            raise NotReachableError(f"cannot publish to {subject}: {exc or type(exc).__name__}") from exc

    async def subscribe_direct(self, subject: str, callback: Callback, queue: str = "") -> Subscription:
        """Subscribe with a callback that runs inside the read loop, in order; it must not block."""
        try:
            sid, inner = await self._client.subscribe_direct(subject, callback, queue)
        except (nats.errors.Error, OSError) as exc:
            raise NotReachableError(f"cannot subscribe to {subject}: {exc or type(exc).__name__}") from exc
        return Subscription(self._client, sid, inner, self.flush)

    async def subscribe(
        self, subject: str, callback: Callable[[Message], Awaitable[None]], queue: str = ""
    ) -> Subscription:
        """Subscribe with a coroutine; each message is handled in a task of its own."""

        def start(message: Message) -> None:
            task = asyncio.ensure_future(callback(message))
            self._running.add(task)
            task.add_done_callback(self._handled)

        return await self.subscribe_direct(subject, start, queue)

    async def request_unchecked(
        self, subject: str, payload: bytes, *, timeout_s: float = 5.0, headers: dict[str, str] | None = None
    ) -> Message:
        """Send a request and return the reply, also one with an error status such as 503, no responders.

        Raises:
            NotReachableError: not connected, the connection broke, or no reply came in time.
        """
        if not self._client.is_connected:
            raise NotReachableError(f"not connected to NATS at {self.url}")
        token, future = self._expect(timeout_s)
        try:
            await self.publish(subject, payload, self._prefix + token, headers)
            reply: Message = await future
            return reply
        finally:
            del self._waiting[token]

    async def request_many(
        self, subject: str, payload: bytes, on_reply: Callable[[Message], bool], *, timeout_s: float = 5.0
    ) -> Message:
        """Send a request that has several replies; return the last one.

        Args:
            on_reply: called with each reply, in order; returns True for the last.

        Raises:
            NotReachableError: as `request_unchecked`; `on_reply` was called with the replies that came.
        """
        if not self._client.is_connected:
            raise NotReachableError(f"not connected to NATS at {self.url}")
        token, future = self._expect(timeout_s)

        def collect(message: Message) -> None:
            if not future.done() and on_reply(message):
                future.set_result(message)

        self._many[token] = collect
        try:
            await self.publish(subject, payload, self._prefix + token)
            last: Message = await future
            return last
        finally:
            del self._waiting[token], self._many[token]

    def _expect(self, timeout_s: float) -> tuple[str, asyncio.Future[Any]]:
        """Return a reply token, and a future that a reply, the loss of the connection or the timeout completes."""
        loop = asyncio.get_running_loop()
        token: str = str(next(self._tokens))
        future: asyncio.Future[Any] = loop.create_future()
        self._waiting[token] = (future, loop.time() + timeout_s)
        if self._sweep is None:
            self._sweep = loop.call_later(_SWEEP_EVERY_S, self._sweep_waiting)
        return token, future

    async def request(
        self, subject: str, payload: bytes, timeout_s: float = 5.0, headers: dict[str, str] | None = None
    ) -> Message:
        """Send a request to a service and return its reply.

        Raises:
            NotReachableError: as `request_unchecked`, or the subject has no responders.
        """
        reply = await self.request_unchecked(subject, payload, timeout_s=timeout_s, headers=headers)
        if reply.status == "503" and not reply.payload:
            raise NotReachableError(f"no responders on {subject}; is the service running?")
        return reply

    def new_inbox(self) -> str:
        """Return a new unique inbox subject, for a subscription of this connection."""
        return self._client.new_inbox()

    async def flush(self, timeout_s: float = 5.0) -> None:
        """Wait until the server has processed everything sent so far.

        Raises:
            NotReachableError: it has not in time.
        """
        if not self._client.is_connected:
            raise NotReachableError(f"not connected to NATS at {self.url}")
        token, future = self._expect(timeout_s)
        try:
            await self._client.ping(future)
            await future
        except (nats.errors.Error, OSError) as exc:
            raise NotReachableError(f"NATS at {self.url}: {exc or type(exc).__name__}") from exc
        finally:
            del self._waiting[token]

    async def close(self) -> None:
        """Close the connection; what was published before is flushed, for at most `CLOSE_TIMEOUT_S`."""
        if self._client.is_connected:
            with contextlib.suppress(NotReachableError):
                await self.flush(CLOSE_TIMEOUT_S)
        tasks = [*self._tasks, *self._running]
        for task in tasks:
            task.cancel()
        self._fail_waiting("the connection is closed")
        with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
            await asyncio.wait_for(self._client.close(), CLOSE_TIMEOUT_S)
        await asyncio.gather(*tasks, return_exceptions=True)
        self._end("the connection is closed")

    async def reconnect(self) -> None:
        """Drop the connection and open a new one."""
        await self._client.force_reconnect()

    # callbacks of the client

    async def on_disconnected(self) -> None:
        """Fail all pending requests now, instead of at their deadlines."""
        self._connected.clear()
        self._fail_waiting("the connection broke")

    async def on_reconnected(self) -> None:
        """Call the reconnect listeners."""
        self._connected.set()
        for listener in list(self._listeners):
            listener()

    async def on_closed(self) -> None:
        """Complete `closed`: the client was closed, or stopped reconnecting."""
        self._end("the connection is closed")

    def _end(self, why: str) -> None:
        self._fail_waiting(why)
        self._connected.set()  # wakes `wait_connected`, which then returns False
        if not self.closed.done():
            self.closed.set_result(None)

    def _on_reply(self, message: Message) -> None:
        token = message.subject[len(self._prefix) :]
        many = self._many.get(token)
        if many is not None:
            many(message)
        elif (waiting := self._waiting.get(token)) is not None and not waiting[0].done():
            waiting[0].set_result(message)

    def _fail_waiting(self, why: str) -> None:
        for future, _ in list(self._waiting.values()):
            if not future.done():
                future.set_exception(NotReachableError(f"NATS at {self.url}: {why}"))

    def _handled(self, task: asyncio.Future[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            _log.error("subscriber_failed", exc_info=exc)

    def _sweep_waiting(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for future, deadline in list(self._waiting.values()):
            if deadline < now and not future.done():
                future.set_exception(NotReachableError(f"NATS at {self.url}: no reply in time"))
        self._sweep = loop.call_later(_SWEEP_EVERY_S, self._sweep_waiting) if self._waiting else None

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_EVERY_S)
            if self._client.read_loop_ended():
                _log.warning("read_loop_ended: the connection is dropped and opened again")
                await self._client.force_reconnect()


async def connect(
    url: str, name: str, *, connect_timeout_s: float = 5.0, access: Access = NO_CREDENTIALS
) -> Connection:
    """Connect to NATS.

    Args:
        url: servers, separated by commas.
        name: name in the server's connection reports, `syntor/<service>/<instance>`.
        access: credentials, for a server that requires them.

    Raises:
        NotReachableError: no server responded in time, or the server refused the connection.
        ConfigurationError: a file of `access` cannot be used.
    """
    more = access.options(url)
    servers = [server.strip() for server in url.split(",")]
    random.shuffle(servers)
    refused: NotReachableError | None = None
    for _ in servers:
        try:
            return await _connect_first(url, servers, name, connect_timeout_s / len(servers), access.inbox_prefix, more)
        except NotReachableError as exc:
            refused = exc
            servers.append(servers.pop(0))
    assert refused is not None, "there is at least one server"
    raise refused


async def _connect_first(
    url: str, servers: list[str], name: str, timeout_s: float, inbox_prefix: str, more: dict[str, Any]
) -> Connection:
    """Connect to the first of `servers`, once; after a disconnect, reconnect to any of them, indefinitely.

    `allow_reconnect` is set only after the first connect: with it the library retries the first attempt indefinitely
    too, and can swallow a cancellation there.
    """
    client = HardenedClient()
    connection = Connection(client, url, name)
    last_error: list[Exception] = []

    async def on_error(exc: Exception) -> None:
        last_error[:] = [exc]
        _log.debug("nats: %s", exc)

    try:
        await asyncio.wait_for(
            client.open(
                on_error,
                servers=servers,
                dont_randomize=True,
                allow_reconnect=False,
                name=name,
                disconnected_cb=connection.on_disconnected,
                reconnected_cb=connection.on_reconnected,
                closed_cb=connection.on_closed,
                connect_timeout=max(1, int(timeout_s)),
                reconnect_time_wait=RECONNECT_WAIT_S,
                max_reconnect_attempts=-1,
                ping_interval=PING_INTERVAL_S,
                max_outstanding_pings=2,
                drain_timeout=5,
                pending_size=BUFFER_BYTES,
                flush_timeout=5,
                inbox_prefix=inbox_prefix,
                **more,
            ),
            max(1.0, timeout_s),
        )
    except (TimeoutError, nats.errors.Error, OSError) as exc:
        await client.close()
        cause: object = next(iter(last_error), exc)
        if isinstance(cause, (TimeoutError, OSError)) and client.requires_credentials:
            cause = f"the server requires credentials and closed the connection: {cause or 'no response'}"
        raise NotReachableError(f"no NATS server at {url} ({cause or 'no response'}); is it running?") from exc
    client.allow_reconnect()
    await connection.start()
    return connection
