"""One HTTP request and its answer, straight on ASGI: a framework's objects would cost more than the work itself."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from syntor.contracts.errors import NotFoundError
from syntor.contracts.ids import is_token
from syntor.ingress.errors import (
    ClientGoneError,
    FieldFault,
    InvalidFieldsError,
    TooLargeError,
    UnsupportedMediaTypeError,
)
from syntor.ingress.reading import unknown_name
from syntor.runtime.telemetry import trace_id_of

MAX_BODY_BYTES = 1024 * 1024
DRAIN_BYTES = 8 * MAX_BODY_BYTES  # read and dropped before a 413, so that the client gets to read the answer
JSON = b"application/json"
EVENT_STREAM = b"text/event-stream"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]


class Exchange:
    """A request being answered."""

    __slots__ = (
        "_receive",
        "_send",
        "caller",
        "client",
        "headers",
        "method",
        "parameters",
        "path",
        "query_string",
        "run_id",
        "status",
        "trace_id",
        "traceparent",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query_string: bytes = scope["query_string"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.parameters: dict[str, str] = {}
        """Parts of the path that stand for ids."""
        self.run_id = ""
        """Run it concerns, for the log."""
        self.client: str = (scope.get("client") or ("",))[0]
        """Address it comes from."""
        self.caller = ""
        """Name of its token; empty: it has none."""
        self.status = 0
        """Status answered with; 0: not yet."""
        self.trace_id, self.traceparent = _trace(self.headers.get(b"traceparent", b""))
        self._receive = receive
        self._send = send

    # the request

    def header(self, name: bytes) -> str:
        """Return a header by its lower-case name, or an empty text."""
        return self.headers.get(name, b"").decode("latin-1").strip()

    @property
    def wants_events(self) -> bool:
        """Whether the client asks for server-sent events."""
        return EVENT_STREAM in self.headers.get(b"accept", b"")

    async def body(self) -> bytes:
        """Return the body.

        Raises:
            TooLargeError: it is above 1 MiB, announced or not.
            UnsupportedMediaTypeError: it says that it is something other than JSON.
            ClientGoneError: the client went away.
        """
        announced = self.headers.get(b"content-length", b"")
        if len(announced) > 6 and announced.isdigit() and int(announced) > MAX_BODY_BYTES:
            if b"expect" not in self.headers:
                await self._drain()
            raise TooLargeError(f"the body has {int(announced)} bytes; at most {MAX_BODY_BYTES} are taken")
        message = await self._receive()
        body: bytes = message.get("body", b"")
        if message.get("more_body"):
            body = await self._rest(body)
        elif message["type"] == "http.disconnect":
            raise ClientGoneError
        if len(body) > MAX_BODY_BYTES:
            raise TooLargeError(f"the body has {len(body)} bytes; at most {MAX_BODY_BYTES} are taken")
        if body:
            self._check_media_type()
        return body

    async def gone(self) -> None:
        """Wait until the client closes its connection; only after the body was read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def token(self, name: str, what: str) -> str:
        """Return a part of the path that must be an id.

        Raises:
            NotFoundError: it cannot be one, so nothing has it.
        """
        value = self.parameters[name]
        if not is_token(value):
            raise NotFoundError(f"no {what} {value!r}")
        return value

    def query(self, *known: str) -> dict[str, str]:
        """Return the query parameters, the last of each name.

        Raises:
            InvalidInputError: one is not among `known`.
        """
        if not self.query_string:
            return {}
        return {name: values[-1] for name, values in self.query_lists(*known).items()}

    def query_lists(self, *known: str) -> dict[str, list[str]]:
        """Return all values of each query parameter; errors as `query`."""
        values: dict[str, list[str]] = {}
        for name, value in parse_qsl(self.query_string.decode("latin-1"), keep_blank_values=True):
            values.setdefault(name, []).append(value)
        faults = [FieldFault(name, unknown_name(name, list(known))) for name in values if name not in known]
        if faults:
            raise InvalidFieldsError(faults)
        return values

    # the answer

    async def answer(
        self, status: int, body: bytes, content_type: bytes = JSON, headers: Headers | None = None
    ) -> None:
        """Send a whole answer."""
        self.status = status
        fixed = [
            (b"content-type", content_type),
            (b"content-length", b"%d" % len(body)),
            *self._trace_headers(),
        ]
        await self._send(
            {"type": "http.response.start", "status": status, "headers": fixed + headers if headers else fixed}
        )
        await self._send({"type": "http.response.body", "body": body})

    async def answer_nothing(self) -> None:
        """Send 204."""
        self.status = 204
        await self._send({"type": "http.response.start", "status": 204, "headers": self._trace_headers()})
        await self._send({"type": "http.response.body", "body": b""})

    async def begin_events(self, headers: Headers) -> None:
        """Send the head of an event stream."""
        self.status = 200
        fixed = [
            (b"content-type", EVENT_STREAM),
            (b"cache-control", b"no-cache"),
            (b"x-accel-buffering", b"no"),
            *self._trace_headers(),
        ]
        await self._send({"type": "http.response.start", "status": 200, "headers": fixed + headers})

    async def write(self, data: bytes) -> None:
        """Send a part of a stream; waits while the client does not read."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, data: bytes = b"") -> None:
        """Send the last part of a stream."""
        await self._send({"type": "http.response.body", "body": data})

    def _trace_headers(self) -> Headers:
        return [(b"traceparent", self.traceparent.encode()), (b"x-trace-id", self.trace_id.encode())]

    async def _rest(self, body: bytes) -> bytes:
        parts, size = [body], len(body)
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > MAX_BODY_BYTES:
                if message.get("more_body"):
                    await self._drain()
                raise TooLargeError(f"the body has more than {MAX_BODY_BYTES} bytes")
            if not message.get("more_body"):
                return b"".join(parts)

    async def _drain(self) -> None:
        dropped = 0
        while dropped < DRAIN_BYTES:
            message = await self._receive()
            dropped += len(message.get("body", b""))
            if not message.get("more_body"):
                return

    def _check_media_type(self) -> None:
        given = self.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if given and given != JSON and not given.endswith(b"+json"):
            raise UnsupportedMediaTypeError(
                f"the body is {given.decode('latin-1')}; send Content-Type: application/json"
            )


def whole_number(values: dict[str, str], name: str, default: int, least: int, most: int) -> int:
    """Return a query parameter that is a whole number.

    Raises:
        InvalidInputError: it is not one, or out of range.
    """
    text = values.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20 and least <= int(text) <= most):
        limit = f"from {least} to {most}" if most < 1 << 60 else f"of at least {least}"
        raise InvalidFieldsError([FieldFault(name, f"expected a whole number {limit}, found {text!r}")])
    return int(text)


def encode(value: Any) -> bytes:
    """Return the JSON of an answer."""
    return msgspec.json.encode(value)


def _trace(given: bytes) -> tuple[str, str]:
    """Return trace id and trace context of a request: the given trace with a span of our own, or a fresh one."""
    if given:
        text = given.decode("latin-1").strip()
        trace_id = trace_id_of(text)
        if trace_id:
            return trace_id, f"00-{trace_id}-{os.urandom(8).hex()}-{text[-2:]}"
    fresh = os.urandom(24).hex()
    return fresh[:32], f"00-{fresh[:32]}-{fresh[32:]}-00"
