"""The HTTP protocol of one connection: uvicorn's on httptools, with a bound on what requests send besides bodies.

uvicorn keeps the request line, all headers and all trailers in memory, however long they are, before any code of the
application runs. Here a request whose head passes the limit gets 431 (RFC 6585) and its connection is closed.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from syntor.contracts.errors import InvalidInputError, RejectionError, SyntorError
from syntor.ingress.http.metrics import record_unread
from syntor.ingress.http.problems import problem_response
from syntor.runtime.telemetry import get_logger, new_traceparent, trace_id_of

MAX_HEAD_BYTES = 32 * 1024  # of the request line and all headers; what nginx accepts by default
LINGER_S = 5.0  # a client that still sends is read from for that long: a reset would take the response from it
_log = get_logger()


class HeadTooLargeError(RejectionError):
    """The request line and headers, or the trailers, of a request are longer than the server accepts."""

    code = "head_too_large"


class BoundedProtocol(HttpToolsProtocol):
    """One connection. Of whatever a client sends outside of bodies, `max_head_bytes` and one read at most are kept."""

    max_head_bytes: ClassVar[int] = MAX_HEAD_BYTES

    _unbounded = 0
    """Bytes received since the last head, part of a body or whole message was complete."""
    _in_head = False
    _header_bytes = 0
    """Bytes of the current head, or trailers, that the parser has completed."""
    _refused = False
    _linger: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, or discard it once the request was refused."""
        if self._refused:
            return
        self._unbounded += len(data)
        super().data_received(data)
        if self._unbounded > self.max_head_bytes:
            self._refuse()

    def connection_lost(self, exc: Exception | None) -> None:
        """Also end the wait for a refused client."""
        if self._linger is not None:
            self._linger.cancel()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._in_head, self._header_bytes = True, 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Keep a part of the request target, unless the head is too long already."""
        if self._fits(len(url)):
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header, unless the head is too long already; trailers are read and ignored."""
        if self._fits(len(name) + len(value) + 4) and self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start the request, or refuse it."""
        if not self._fits(0):
            self._refuse()
            return
        self._in_head, self._unbounded = False, 0
        super().on_headers_complete()

    def on_chunk_header(self) -> None:
        """Begin a part of a chunked body, or its trailers."""
        self._unbounded = 0

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body."""
        self._unbounded = 0
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """End the request."""
        self._unbounded = 0
        if not self._refused:
            super().on_message_complete()

    def _fits(self, size: int) -> bool:
        self._header_bytes += size
        return not self._refused and self._header_bytes <= self.max_head_bytes

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP; uvicorn's own would be lost with the connection while the client still sends."""
        self._close_with(InvalidInputError(msg))

    def _refuse(self) -> None:
        _log.warning("request_head_refused", client=self.client, limit_bytes=self.max_head_bytes)
        text = f"the request line and headers have more than {self.max_head_bytes} bytes"
        self._close_with(HeadTooLargeError(text))

    def _close_with(self, error: SyntorError) -> None:
        """Send a problem where no other response is due, and close once the client had time to read it."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        cycle = self.cycle
        waiting = bool(cycle) and not cycle.response_complete  # uvicorn: None before the first request
        if waiting and (cycle.response_started or self._in_head):
            self.transport.close()  # another response is due first: this one would be taken for it
            return
        if waiting:
            cycle.disconnected = True  # its application gets a disconnect, and what it sends goes nowhere
            cycle.message_event.set()
        self.flow.resume_reading()
        self.transport.write(response_bytes(error))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._linger = self.loop.call_later(LINGER_S, self.transport.close)


def response_bytes(error: SyntorError) -> bytes:
    """Return a whole response with a problem, after which the connection is closed."""
    traceparent = new_traceparent()
    trace_id = trace_id_of(traceparent)
    response = problem_response(error, "", trace_id)
    record_unread(response.status_code)
    headers = [
        *response.raw_headers,
        (b"traceparent", traceparent.encode()),
        (b"x-trace-id", trace_id_of(traceparent).encode()),
        (b"connection", b"close"),
    ]
    head = STATUS_LINE[response.status_code] + b"".join(name + b": " + value + b"\r\n" for name, value in headers)
    return head + b"\r\n" + bytes(response.body)
