"""One connection to NATS: publish, subscribe, ask. It reconnects for ever; who asks meanwhile gets an error at once.

Replies come in on one inbox: a counter in the reply subject finds who waits, one sweeper ends what waited too long.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Awaitable, Callable

import nats.errors

from syntor.contracts.errors import NotReachableError
from syntor.jetstream.client import Callback, HardenedClient, Message

__all__ = ["Connection", "Message", "Subscription", "connect"]

PING_INTERVAL_S = 10  # a dead peer is noticed after two missed answers; the library's 120 s would take minutes
RECONNECT_WAIT_S = 0.1  # between attempts at the same server
BUFFER_BYTES = 8 * 1024 * 1024
_SWEEP_EVERY_S = 0.25
_WATCH_EVERY_S = 1.0
_log = logging.getLogger("syntor.jetstream")


class Subscription:
    """A subscription; ends with `unsubscribe`."""

    def __init__(self, client: HardenedClient, inner: object, sid: int) -> None:
        self._client, self._inner, self._sid = client, inner, sid

    async def unsubscribe(self) -> None:
        """End the subscription; messages still under way are dropped."""
        self._client.direct.pop(self._sid, None)
        with contextlib.suppress(nats.errors.Error, OSError):
            await self._inner.unsubscribe()  # type: ignore[attr-defined]


class Connection:
    """A connection made by `connect`."""

    def __init__(self, client: HardenedClient, url: str, name: str) -> None:
        self.url = url
        self.name = name
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the connection is closed for good."""
        self._client = client
        self._prefix = ""
        self._tokens = itertools.count(1)
        self._waiting: dict[str, tuple[asyncio.Future[Message], float]] = {}
        self._streams: dict[str, Callback] = {}
        self._listeners: list[Callable[[], None]] = []
        self._connected = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._running: set[asyncio.Task[None]] = set()

    @property
    def is_connected(self) -> bool:
        """Whether the server can be reached now, as far as is known."""
        return self._client.is_connected

    async def start(self) -> None:
        """Subscribe the reply inbox and start the watchers; `connect` does this."""
        self._connected.set()
        self._prefix = self._client.new_inbox() + "."
        await self.subscribe_direct(self._prefix + "*", self._on_reply)
        self._tasks = [asyncio.create_task(self._sweep()), asyncio.create_task(self._watch())]

    def on_reconnect(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after each reconnect; returns what removes it again."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    async def wait_connected(self, timeout_s: float) -> bool:
        """Wait until connected; False when the time is up."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._connected.wait(), timeout_s)
        return self.is_connected

    async def publish(
        self, subject: str, payload: bytes, reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """Send a message; nobody confirms it.

        Raises:
            NotReachableError: not connected, or the message is larger than the server takes.
        """
        try:
            await self._client.publish(subject, payload, reply, headers)
        except (nats.errors.Error, OSError) as exc:
            raise NotReachableError(f"cannot publish to {subject}: {exc or type(exc).__name__}") from exc

    async def subscribe_direct(self, subject: str, callback: Callback, queue: str = "") -> Subscription:
        """Subscribe with a callback that runs inside the read loop, in order; it must be quick."""
        try:
            inner = await self._client.subscribe(subject, queue=queue)
        except (nats.errors.Error, OSError) as exc:
            raise NotReachableError(f"cannot subscribe to {subject}: {exc or type(exc).__name__}") from exc
        sid: int = inner._id
        self._client.direct[sid] = callback
        return Subscription(self._client, inner, sid)

    async def subscribe(
        self, subject: str, callback: Callable[[Message], Awaitable[None]], queue: str = ""
    ) -> Subscription:
        """Subscribe with a coroutine; each message is handled in a task of its own."""

        def start(message: Message) -> None:
            task = asyncio.ensure_future(self._handle(callback, message))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

        return await self.subscribe_direct(subject, start, queue)

    async def ask(
        self, subject: str, payload: bytes, *, timeout_s: float = 5.0, headers: dict[str, str] | None = None
    ) -> Message:
        """Send a request and return the reply, whatever its status.

        Raises:
            NotReachableError: not connected, the connection broke, or no reply came in time.
        """
        if not self._client.is_connected:
            raise NotReachableError(f"not connected to NATS at {self.url}")
        token = str(next(self._tokens))
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Message] = loop.create_future()
        self._waiting[token] = (future, loop.time() + timeout_s)
        try:
            await self.publish(subject, payload, self._prefix + token, headers)
            return await future
        finally:
            self._waiting.pop(token, None)

    async def request(
        self, subject: str, payload: bytes, timeout_s: float = 5.0, headers: dict[str, str] | None = None
    ) -> Message:
        """Send a request to a service and return its reply.

        Raises:
            NotReachableError: as `ask`, or nobody serves the subject.
        """
        reply = await self.ask(subject, payload, timeout_s=timeout_s, headers=headers)
        if reply.status == "503" and not reply.payload:
            raise NotReachableError(f"nobody answers on {subject}; is the service running?")
        return reply

    def new_inbox(self) -> str:
        """Return a fresh subject only this connection listens to, for a subscription of its own."""
        return self._client.new_inbox()

    async def open_replies(self, callback: Callback) -> tuple[str, Callable[[], None]]:
        """Return a reply subject whose every message goes to `callback`, and what closes it."""
        token = f"m{next(self._tokens)}"
        self._streams[token] = callback
        return self._prefix + token, lambda: self._streams.pop(token, None) and None

    async def flush(self, timeout_s: float = 5.0) -> None:
        """Wait until the server has taken everything sent so far.

        Raises:
            NotReachableError: it did not in time.
        """
        try:
            await self._client.flush(int(timeout_s) or 1)
        except (nats.errors.Error, OSError) as exc:
            raise NotReachableError(f"no answer from NATS at {self.url} within {timeout_s:g} s") from exc

    async def close(self) -> None:
        """Close for good; what was published before is sent."""
        for task in [*self._tasks, *self._running]:
            task.cancel()
        if self._client.is_connected:
            with contextlib.suppress(NotReachableError):
                await self.flush(1.0)
        with contextlib.suppress(nats.errors.Error, OSError):
            await self._client.close()
        self._fail_waiting("the connection is closed")
        if not self.closed.done():
            self.closed.set_result(None)

    async def reconnect(self) -> None:
        """Drop the connection and make it anew."""
        await self._client.force_reconnect()

    # what the client tells us

    async def on_disconnected(self) -> None:
        """The server went away: whoever waits is told now instead of at his deadline."""
        self._connected.clear()
        self._fail_waiting("the connection broke")

    async def on_reconnected(self) -> None:
        """The server is back."""
        self._connected.set()
        for listener in list(self._listeners):
            listener()

    async def on_closed(self) -> None:
        """The client gave up or was closed."""
        self._fail_waiting("the connection is closed")
        if not self.closed.done():
            self.closed.set_result(None)

    def _on_reply(self, message: Message) -> None:
        token = message.subject[len(self._prefix) :]
        waiting = self._waiting.get(token)
        if waiting is not None:
            if not waiting[0].done():
                waiting[0].set_result(message)
        elif (stream := self._streams.get(token)) is not None:
            stream(message)

    def _fail_waiting(self, why: str) -> None:
        for future, _ in list(self._waiting.values()):
            if not future.done():
                future.set_exception(NotReachableError(f"NATS at {self.url}: {why}"))

    async def _handle(self, callback: Callable[[Message], Awaitable[None]], message: Message) -> None:
        try:
            await callback(message)
        except NotReachableError as exc:
            _log.warning("reply_not_sent: %s", exc)

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_SWEEP_EVERY_S)
            now = loop.time()
            for future, deadline in list(self._waiting.values()):
                if deadline < now and not future.done():
                    future.set_exception(NotReachableError(f"NATS at {self.url}: no reply in time"))

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_EVERY_S)
            if self._client.reading_stopped():
                _log.warning("read loop ended while connected; reconnecting")
                await self._client.force_reconnect()


async def connect(url: str, name: str, *, connect_timeout_s: float = 5.0, inbox_prefix: str = "_INBOX") -> Connection:
    """Connect to NATS.

    Args:
        url: servers, separated by commas.
        name: shown by the server's reports, `syntor/<service>/<instance>`.

    Raises:
        NotReachableError: no server answered in time.
    """
    client = HardenedClient()
    client.on_callback_error = lambda exc: _log.error("callback failed", exc_info=exc)
    connection = Connection(client, url, name)

    async def on_error(exc: Exception) -> None:
        _log.debug("nats: %s", exc)

    try:
        await asyncio.wait_for(
            client.connect(
                servers=[server.strip() for server in url.split(",")],
                name=name,
                error_cb=on_error,
                disconnected_cb=connection.on_disconnected,
                reconnected_cb=connection.on_reconnected,
                closed_cb=connection.on_closed,
                connect_timeout=max(1, int(connect_timeout_s)),
                reconnect_time_wait=RECONNECT_WAIT_S,  # type: ignore[arg-type]
                max_reconnect_attempts=-1,
                ping_interval=PING_INTERVAL_S,
                max_outstanding_pings=2,
                drain_timeout=5,
                pending_size=BUFFER_BYTES,
                flush_timeout=5,
                inbox_prefix=inbox_prefix,
            ),
            connect_timeout_s,
        )
    except (TimeoutError, nats.errors.Error, OSError) as exc:
        await client.close()
        raise NotReachableError(f"no NATS server at {url} ({exc or 'no answer'}); is it running?") from exc
    await connection.start()
    return connection
