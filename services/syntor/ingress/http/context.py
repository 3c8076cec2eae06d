"""What the ingress knows of a request beside its HTTP content: trace, caller, and what the access log needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.types import Scope, Send

from syntor.contracts.envelope import Lineage
from syntor.contracts.run.v1 import Ceiling
from syntor.ingress.http.errors import TooManyRequestsError
from syntor.ingress.http.metrics import Kind
from syntor.runtime.telemetry import child_traceparent, trace_id_of
from syntor.runtime.trace_context import read_context

_KEY = "syntor.context"


class RequestContext:
    """State of one request, from its first byte to the end of its response."""

    __slots__ = (
        "caller",
        "ceiling",
        "kind",
        "recheck",
        "refusal",
        "run_id",
        "server_send",
        "started_s",
        "status",
        "trace",
        "trace_id",
        "traceparent",
    )

    def __init__(self, scope: Scope, send: Send | None = None) -> None:
        self.trace = read_context(scope["headers"])
        """What the client sent of its trace."""
        self.traceparent = child_traceparent(self.trace.traceparent)
        """A new span of the client's trace, or of a new trace where the client sent none."""
        self.trace_id = trace_id_of(self.traceparent)
        self.caller = ""
        """Name of the request's token; empty: it has none."""
        self.ceiling: Ceiling | None = None
        """The most runs of its token may do; None: what the server allows."""
        self.recheck: Callable[[], None] | None = None
        """Raises a RejectionError once its token is revoked, expired or without the scope; None: it has no token."""
        self.refusal: TooManyRequestsError | None = None
        """Why the request is refused unless it repeats one that was accepted; only where it has an idempotency key."""
        self.run_id = ""
        """Run the request created, for the access log."""
        self.kind: Kind = "request"
        """How long its response takes, for its metrics."""
        self.started_s = 0.0
        """Seconds from the request to the begin of its response; 0: not sent yet."""
        self.status = 0
        """Status of the response; 0: not sent yet."""
        self.server_send = send
        """Sends to the server, past all middleware: for the parts of a stream, which no middleware reads."""

    def lineage(self, **fields: Any) -> Lineage:
        """Return the lineage of an event this request writes; `fields` are the others of a `Lineage`."""
        return Lineage(traceparent=self.traceparent, **self.caller_fields, **fields)

    @property
    def caller_fields(self) -> dict[str, Any]:
        """What a lineage keeps of the client's trace."""
        return {"caller": self.trace.traceparent, "caller_state": self.trace.tracestate}

    @property
    def response_headers(self) -> list[tuple[bytes, bytes]]:
        """Headers of every response."""
        return [(b"traceparent", self.traceparent.encode()), (b"x-trace-id", self.trace_id.encode())]


def attach(scope: Scope, send: Send | None = None) -> RequestContext:
    """Create the context of a request and keep it in its ASGI scope."""
    context = scope[_KEY] = RequestContext(scope, send)
    return context


def context_of(request: Request | Scope) -> RequestContext:
    """Return the context of a request."""
    context: RequestContext = request[_KEY]
    return context
