"""Limits of connections: seconds to send a request, seconds without reading, connections of one address.

uvicorn waits for a request, its body, and a client that does not read, without end: a few thousand of them would take
all places. Here a request that is not complete in time is refused; of the unfinished requests of one address the oldest
one makes room for the newest, so that a client that sends whole requests is always served.
"""

from __future__ import annotations

import asyncio
import resource
from typing import ClassVar, Literal

import msgspec

from syntor.contracts.errors import InfrastructureError, RejectionError
from syntor.ingress.http.addresses import network_of
from syntor.ingress.http.protocol import MAX_HEAD_BYTES, BoundedProtocol, response_bytes
from syntor.runtime.telemetry import get_logger

_SPARE_FILES = 256  # file descriptors left for all but connections
_log = get_logger()


class RequestTimeoutError(RejectionError):
    """A request was not complete in time."""

    code = "request_timeout"


class ConnectionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of all connections of a server."""

    head_bytes: int = MAX_HEAD_BYTES
    """Of the request line and all headers."""
    head_s: float = 20.0
    """Seconds from the connection, or the first byte, to the end of a request's head."""
    body_s: float = 60.0
    """Seconds from there to the end of its body, which has 1 MiB at most."""
    unread_s: float = 60.0
    """Seconds in which a client has to read something of a response that waits."""
    per_address: int = 4096
    """Connections of one address; 0: no limit."""
    unfinished: int = 128
    """Requests of one address that are not complete; 0: no limit."""
    young_s: float = 3.0
    """Seconds in which they do not count: a crowd that connects at the same moment is read one after the other."""


class Addresses:
    """The connections and unfinished requests of each address."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        self._open: dict[str, int] = {}
        self._unfinished: dict[str, dict[LimitedProtocol, float]] = {}
        self._checks: set[str] = set()

    def connect(self, address: str) -> bool:
        """Count a connection; return whether it is within the limit."""
        count = self._open[address] = self._open.get(address, 0) + 1
        return not 0 < self._limits.per_address < count

    def disconnect(self, address: str) -> None:
        """Count a connection that was closed."""
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]

    def begin(self, address: str, connection: LimitedProtocol) -> None:
        """Add an unfinished request."""
        self._unfinished.setdefault(address, {})[connection] = connection.loop.time()
        self._make_room(address, connection.loop)

    def end(self, address: str, connection: LimitedProtocol) -> None:
        """Remove an unfinished request, if it is one."""
        waiting = self._unfinished.get(address)
        if waiting is not None:
            waiting.pop(connection, None)
            if not waiting:
                del self._unfinished[address]

    def _make_room(self, address: str, loop: asyncio.AbstractEventLoop) -> None:
        """Refuse the oldest unfinished requests above the limit, or check again once they are old enough."""
        waiting = self._unfinished.get(address, {})
        while 0 < self._limits.unfinished < len(waiting):
            oldest, since = next(iter(waiting.items()))
            left_s = since + self._limits.young_s - loop.time()
            if left_s > 0:
                if address not in self._checks:
                    self._checks.add(address)
                    loop.call_later(left_s, self._check, address, loop)
                return
            self.end(address, oldest)
            oldest.refuse_unfinished(
                f"{self._limits.unfinished} newer requests of its address were not complete either"
            )

    def _check(self, address: str, loop: asyncio.AbstractEventLoop) -> None:
        self._checks.discard(address)
        self._make_room(address, loop)


class LimitedProtocol(BoundedProtocol):
    """One connection within the limits."""

    limits: ClassVar[ConnectionLimits]
    addresses: ClassVar[Addresses]

    _address = ""
    _expects: Literal["", "head", "body"] = "head"
    """Part of a request that is not complete; empty: none."""
    _watched: Literal["", "head", "body"] = ""
    """Part the timer is about."""
    _timer: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    _unread_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection, and begin to wait for a request."""
        super().connection_made(transport)
        self._address = network_of(self.client[0] if self.client else "")
        if self.addresses.connect(self._address):
            self._watch()
            return
        _log.warning("connection_refused", client=self.client, limit=self.limits.per_address)
        text = f"this address has {self.limits.per_address} connections already"
        transport.write(response_bytes(InfrastructureError(text)))
        transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._expects = ""
        self._watch()
        self._stop_unread()
        self.addresses.disconnect(self._address)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, and watch for what is missing."""
        if not self._expects and not self._responding:
            self._expects = "head"  # also for bytes that begin no request, such as empty lines
        super().data_received(data)
        self._watch()

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._expects = "head"
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Start the request; its body is missing."""
        self._expects = "body"
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """End the request: nothing is missing."""
        self._expects = ""
        super().on_message_complete()

    def pause_writing(self) -> None:
        """Begin to wait for the client to read."""
        super().pause_writing()
        if self._unread is None:
            self._unread_bytes = self.transport.get_write_buffer_size()
            self._unread = self.loop.call_later(self.limits.unread_s, self._check_unread)

    def resume_writing(self) -> None:
        """Stop waiting: the client reads."""
        self._stop_unread()
        super().resume_writing()

    def refuse_unfinished(self, reason: str) -> None:
        """Close the connection of a request that is not complete; a client that began one gets a problem."""
        expected, self._expects = self._expects, ""
        self._watch()
        if self.transport.is_closing():
            return
        _log.warning("request_not_complete", client=self.client, reason=reason)
        silent = expected == "head" and not self._unbounded
        if silent or (expected == "body" and self.cycle.response_started):
            self.transport.close()
        else:
            self._close_with(RequestTimeoutError(f"the request was not complete: {reason}"))

    @property
    def _responding(self) -> bool:
        return bool(self.cycle) and not self.cycle.response_complete

    def _watch(self) -> None:
        """Set the timer for the part that is missing now; each part has its time as a whole."""
        if self._expects == self._watched:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._watched:
            self.addresses.begin(self._address, self)
        elif not self._expects:
            self.addresses.end(self._address, self)
        self._watched = self._expects
        if self._expects:
            self._set_timer()

    def _set_timer(self) -> None:
        seconds = self.limits.head_s if self._expects == "head" else self.limits.body_s
        self._timer = self.loop.call_later(seconds, self._late, seconds)

    def _late(self, seconds: float) -> None:
        if self.pipeline or (self._expects == "head" and self._responding):
            self._set_timer()  # it waits for the response to the request before, not for the client
        else:
            self.refuse_unfinished(f"its {self._expects} did not arrive within {seconds:g} s")

    def _check_unread(self) -> None:
        self._unread = None
        left = self.transport.get_write_buffer_size()
        if left < self._unread_bytes:
            self._unread_bytes = left
            self._unread = self.loop.call_later(self.limits.unread_s, self._check_unread)
            return
        _log.warning("client_does_not_read", client=self.client, bytes=left, seconds=self.limits.unread_s)
        self.transport.abort()

    def _stop_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None


def limited_protocol(limits: ConnectionLimits) -> type[LimitedProtocol]:
    """Return the protocol of a server's connections, whose limits they share."""
    room = raise_file_limit() - _SPARE_FILES
    if not 0 < limits.per_address < room:
        limits = msgspec.structs.replace(limits, per_address=max(1, room))
    shared = {"limits": limits, "addresses": Addresses(limits), "max_head_bytes": limits.head_bytes}
    return type("LimitedProtocol", (LimitedProtocol,), shared)


def raise_file_limit() -> int:
    """Let the process have as many open files as it may; return the number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):  # macOS names no limit and then refuses it
            return soft
    return hard if hard != resource.RLIM_INFINITY else 1_048_576
