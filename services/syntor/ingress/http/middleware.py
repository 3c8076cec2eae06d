"""Pure ASGI middleware around every request: trace headers, access log, metrics, bugs, number of requests."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from syntor.contracts.errors import InfrastructureError, SyntorError
from syntor.ingress.http.context import RequestContext, attach, context_of
from syntor.ingress.http.problems import problem_response
from syntor.metrics import Counter, Histogram
from syntor.runtime.telemetry import get_logger

_REQUESTS = Counter("syntor_http_requests_total", "HTTP requests completed", ("route", "method", "status"))
_SECONDS = Histogram("syntor_http_request_seconds", "Seconds from request to end of response", ("route",))
_log = get_logger()


class ObservabilityMiddleware:
    """Gives each request a context, its responses the trace headers, and writes access log and metrics.

    An exception no handler expects is a bug: it is logged and becomes a 500 problem.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        began = time.perf_counter()
        context = attach(scope, send)

        async def send_with_trace(message: Message) -> None:
            if message["type"] == "http.response.start":
                context.status = message["status"]
                message["headers"] = [*message["headers"], *context.response_headers]
            await send(message)

        try:
            await self._app(scope, receive, send_with_trace)
        except Exception as exc:
            _log.exception("request_failed", path=scope["path"], trace_id=context.trace_id)
            if context.status:
                raise
            bug = SyntorError(f"{type(exc).__name__}; the log of the ingress has more under this trace id")
            await problem_response(bug, scope["path"], context.trace_id)(scope, receive, send_with_trace)
        finally:
            _record(scope, context, time.perf_counter() - began)


class RequestLimitMiddleware:
    """Refuses requests above a number of concurrent ones."""

    def __init__(self, app: ASGIApp, max_requests: int) -> None:
        """Prepare.

        Args:
            max_requests: requests and streams served concurrently; 0: no limit.
        """
        self._app = app
        self._max_requests = max_requests
        self._serving = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        self._serving += 1
        try:
            if 0 < self._max_requests < self._serving:
                error = InfrastructureError(f"{self._max_requests} requests are being served already")
                await refuse(error, scope, receive, send)
            else:
                await self._app(scope, receive, send)
        finally:
            self._serving -= 1


async def refuse(error: SyntorError, scope: Scope, receive: Receive, send: Send) -> None:
    """Send a problem from inside a middleware."""
    context = context_of(scope)
    if isinstance(error, InfrastructureError):
        _log.warning("request_not_served", trace_id=context.trace_id, code=error.code, error=str(error))
    await problem_response(error, scope["path"], context.trace_id)(scope, receive, send)


def _record(scope: Scope, context: RequestContext, duration_s: float) -> None:
    route = scope.get("route")
    template = "unmatched" if route is None else route.path
    _REQUESTS.labels(template, scope["method"], str(context.status)).inc()
    _SECONDS.labels(template).observe(duration_s)
    _log.info(
        "http_request",
        method=scope["method"],
        path=scope["path"],
        status=context.status,
        duration_s=round(duration_s, 6),
        trace_id=context.trace_id,
        run_id=context.run_id or scope.get("path_params", {}).get("run_id", ""),
    )
