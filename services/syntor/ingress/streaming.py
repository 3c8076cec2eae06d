"""Sends a client the messages it follows as server-sent events, many in one write when many are there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from syntor.contracts.errors import ContractError, InfrastructureError
from syntor.contracts.events import TERMINAL_RUN_TYPES
from syntor.ingress.exchange import Exchange, Headers
from syntor.ingress.following import Following
from syntor.ingress.frames import PING, PREAMBLE, comment, event_type, frame, gap
from syntor.ingress.hub import Stored
from syntor.metrics import Counter, Gauge
from syntor.runtime.telemetry import get_logger

PING_S = 15.0  # proxies close what is silent for 30 to 60 s
DATAREF = b'"dataref"'  # in a payload only as a key: inside a JSON text its quotes would be escaped

Hydrate = Callable[[Stored], Awaitable[Stored]]
"""Returns the message with data kept as a blob put in."""

CLIENTS = Gauge("syntor_sse_clients", "Event streams open").labels()
_GAPS = Counter("syntor_sse_gaps_total", "Event streams closed because the client was too slow").labels()
_log = get_logger()


class EventStream:
    """One event stream being sent."""

    def __init__(
        self,
        exchange: Exchange,
        following: Following,
        hydrate: Hydrate,
        *,
        ends: bool,
        types: frozenset[str] = frozenset(),
    ) -> None:
        """Prepare a stream.

        Args:
            ends: whether the terminal event of a run ends it.
            types: event types to send; empty: all.
        """
        self._exchange = exchange
        self._following = following
        self._hydrate = hydrate
        self._ends = ends
        self._types = types
        self._loop = asyncio.get_running_loop()
        self._written_at = self._loop.time()
        self._gone = False
        self._sent = following.position
        self._timer: asyncio.TimerHandle | None = None

    async def run(self, headers: Headers) -> None:
        """Send everything until the run ends, the client goes, or the process stops."""
        CLIENTS.inc()
        watcher = asyncio.ensure_future(self._exchange.gone())
        watcher.add_done_callback(self._on_gone)
        try:
            await self._exchange.begin_events(headers)
            await self._exchange.end(await self._send_all())
        except (InfrastructureError, ContractError) as exc:
            _log.warning("stream_interrupted", trace_id=self._exchange.trace_id, error=str(exc))
            await self._exchange.end(comment("interrupted; resume with Last-Event-ID"))
        finally:
            CLIENTS.dec()
            watcher.cancel()
            if self._timer is not None:
                self._timer.cancel()
            self._following.close()

    async def _send_all(self) -> bytes:
        """Send what there is and what comes; return the last bytes, for the end of the stream."""
        preamble = PREAMBLE
        if self._following.listener is None:
            await self._write(PREAMBLE)
            preamble = b""
            async for chunk in self._following.past():
                frames, ended = await self._frames(chunk)
                if ended or self._gone:
                    return frames
                await self._write(frames)
        listener = self._following.listener
        assert listener is not None
        self._tick()
        while True:
            await listener.wait()
            if listener.closed:
                return comment("closed by the server; resume with Last-Event-ID")
            if listener.overflowed:
                _GAPS.inc()
                return gap(self._sent)
            taken = self._following.take()
            if taken:
                frames, ended = await self._frames(taken)
                frames, preamble = preamble + frames, b""
                if ended:
                    return frames
                await self._write(frames)
            elif self._loop.time() - self._written_at >= PING_S:
                await self._write(preamble + PING)
                preamble = b""

    async def _frames(self, messages: list[Stored]) -> tuple[bytes, bool]:
        """Return the events to send, and whether the run's terminal event is the last of them."""
        frames: list[bytes] = []
        for message in messages:
            type_ = event_type(message.subject)
            if not self._types or type_ in self._types:
                if DATAREF in message.payload:
                    message = await self._hydrate(message)
                frames.append(frame(message, type_))
            self._sent = message.position
            if self._ends and type_ in TERMINAL_RUN_TYPES:
                return b"".join(frames), True
        return b"".join(frames), False

    async def _write(self, data: bytes) -> None:
        if data:
            self._written_at = self._loop.time()
            await self._exchange.write(data)

    def _tick(self) -> None:
        """Wake the stream when nothing was written for long enough; look again when that may be."""
        idle_s = self._loop.time() - self._written_at
        if idle_s >= PING_S:
            idle_s = 0.0
            if self._following.listener is not None:
                self._following.listener.wake()
        self._timer = self._loop.call_later(PING_S - idle_s, self._tick)

    def _on_gone(self, watcher: asyncio.Future[None]) -> None:
        if not watcher.cancelled():
            self._gone = True
            if self._following.listener is not None:
                self._following.listener.close()
