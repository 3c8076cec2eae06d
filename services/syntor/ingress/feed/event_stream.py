"""The response that sends a subscription as server-sent events, several in one write where several are pending."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from syntor.contracts.errors import ContractError, InfrastructureError, RejectionError
from syntor.contracts.events import TERMINAL_RUN_TYPES
from syntor.eventsourcing.store import RawEvent
from syntor.ingress.feed.frames import PING, PREAMBLE, comment, event_type, frame, gap, id_only
from syntor.ingress.feed.subscription import Subscription
from syntor.ingress.http.context import context_of
from syntor.metrics import Counter, Gauge
from syntor.runtime.telemetry import get_logger

RECHECK_S = 2.0  # a stream ends at most so many seconds after its token was revoked
PING_S = 15.0  # proxies close connections that are silent for 30 to 60 s
DATAREF = b'"dataref"'  # in a payload only as a key: inside a JSON text its quotes would be escaped
_HEADERS = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}

Hydrate = Callable[[RawEvent], Awaitable[RawEvent]]
"""Returns the message with its data inline."""

CLIENTS = Gauge("syntor_sse_clients", "Event streams open").labels()
_GAPS = Counter("syntor_sse_gaps_total", "Event streams closed because the client was too slow").labels()
_log = get_logger()


class EventStream(Response):
    """An event stream; it closes its subscription when it ends."""

    def __init__(
        self,
        subscription: Subscription,
        hydrate: Hydrate,
        *,
        until_terminal: bool,
        types: frozenset[str] = frozenset(),
        received: int,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare a stream.

        Args:
            until_terminal: whether the terminal event of a run ends it.
            types: event types to send; empty: all.
            received: position the client may name as its last event already; 0: none.
        """
        self.status_code = 200
        self.init_headers({**_HEADERS, **(headers or {})})
        self._subscription = subscription
        self._hydrate = hydrate
        self._until_terminal = until_terminal
        self._types = types
        self._loop = asyncio.get_running_loop()
        self._written_at = self._loop.time()
        self._disconnected = False
        self._sent = received
        self._timer: asyncio.TimerHandle | None = None
        self._recheck: Callable[[], None] | None = None
        self._refusal: RejectionError | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until the run ends, the client disconnects, or the process stops."""
        CLIENTS.inc()
        context = context_of(scope)
        context.kind, self._recheck = "stream", context.recheck
        watcher = asyncio.ensure_future(_disconnect(receive))
        watcher.add_done_callback(self._on_disconnect)
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            send = context_of(scope).server_send or send
            last = await self._send_all(send)
            await send({"type": "http.response.body", "body": last})
        except RejectionError as exc:
            _log.warning("stream_refused", trace_id=context_of(scope).trace_id, reason=str(exc))
            await send({"type": "http.response.body", "body": comment(f"closed by the server: {exc}")})
        except (InfrastructureError, ContractError) as exc:
            _log.warning("stream_interrupted", trace_id=context_of(scope).trace_id, error=str(exc))
            await send({"type": "http.response.body", "body": comment("interrupted; resume with Last-Event-ID")})
        finally:
            CLIENTS.dec()
            watcher.cancel()
            if self._timer is not None:
                self._timer.cancel()
            self._subscription.close()

    async def _send_all(self, send: Send) -> bytes:
        """Send the backlog, then live events; return the last bytes of the stream, which are not sent yet."""
        preamble = PREAMBLE
        self._tick()
        if not self._until_terminal:
            # a client that is cut off before the first event resumes here, and misses none
            await self._write(send, PREAMBLE + id_only(self._sent))
            preamble = b""
        if self._subscription.listener is None:
            await self._write(send, preamble)
            preamble = b""
            async for chunk in self._subscription.backlog():
                frames, ended = await self._frames(chunk)
                if ended or self._disconnected:
                    return frames
                await self._write(send, frames)
        return await self._send_live(send, preamble)

    async def _send_live(self, send: Send, preamble: bytes) -> bytes:
        listener = self._subscription.listener
        assert listener is not None
        while True:
            await listener.wait()
            self._require_access()
            if listener.closed:
                return comment("closed by the server; resume with Last-Event-ID")
            if listener.overflowed:
                _GAPS.inc()
                return gap(self._sent)
            messages = self._subscription.drain()
            if messages:
                frames, ended = await self._frames(messages)
                frames, preamble = preamble + frames, b""
                if ended:
                    return frames
                await self._write(send, frames)
            elif self._loop.time() - self._written_at >= PING_S:
                await self._write(send, preamble + PING)
                preamble = b""

    async def _frames(self, messages: list[RawEvent]) -> tuple[bytes, bool]:
        """Return the events to send, and whether the run's terminal event is the last of them."""
        self._require_access()
        frames: list[bytes] = []
        for message in messages:
            type_ = event_type(message.subject)
            if not self._types or type_ in self._types:
                if DATAREF in message.payload:
                    message = await self._hydrate(message)
                frames.append(frame(message, type_))
            self._sent = message.position
            if self._until_terminal and type_ in TERMINAL_RUN_TYPES:
                if self._types and type_ not in self._types:
                    frames.append(id_only(message.position))  # an EventSource reconnects, and gets 204: it is the end
                return b"".join(frames), True
        return b"".join(frames), False

    async def _write(self, send: Send, data: bytes) -> None:
        """Send a part of the stream; blocks while the client does not read."""
        if data:
            self._written_at = self._loop.time()
            await send({"type": "http.response.body", "body": data, "more_body": True})

    def _tick(self) -> None:
        """Wake the stream when it was silent for `PING_S` or may not continue; schedule the next check."""
        idle_s = self._loop.time() - self._written_at
        wait_s = PING_S - idle_s
        if wait_s <= 0:
            wait_s = PING_S
            self._wake()
        if self._recheck is not None:
            wait_s = min(wait_s, RECHECK_S)
            try:
                self._recheck()
            except RejectionError as exc:
                self._refusal = exc
                self._wake()
        self._timer = self._loop.call_later(wait_s, self._tick)

    def _wake(self) -> None:
        if self._subscription.listener is not None:
            self._subscription.listener.wake()

    def _require_access(self) -> None:
        """Raise the reason why the client may not read on, if there is one by now."""
        if self._refusal is not None:
            raise self._refusal

    def _on_disconnect(self, watcher: asyncio.Future[None]) -> None:
        if not watcher.cancelled():
            self._disconnected = True
            if self._subscription.listener is not None:
                self._subscription.listener.close()


async def _disconnect(receive: Receive) -> None:
    """Return when the client closes its connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
