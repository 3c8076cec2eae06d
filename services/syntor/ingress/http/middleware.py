"""Pure ASGI middleware around every request: trace headers, access log, metrics, bugs, number of requests."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from syntor.contracts.errors import InfrastructureError, SyntorError
from syntor.ingress.http.context import RequestContext, attach, context_of
from syntor.ingress.http.metrics import record
from syntor.ingress.http.problems import problem_response
from syntor.runtime.telemetry import get_logger

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
                context.status, context.started_s = message["status"], time.perf_counter() - began
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
    """Refuses requests above a number of concurrent ones, and before that a growing part of those that start runs.

    So approvals, cancellations and reads still get through while new work is shed. A request counts once it is
    complete: half a body takes no place from others.
    """

    def __init__(
        self,
        app: ASGIApp,
        max_requests: int,
        shed_above: float = 1.0,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Prepare.

        Args:
            max_requests: requests and streams served concurrently; 0: no limit.
            shed_above: part of that number above which runs are refused, with a probability that grows to 1; 1: none.
            chance: returns random numbers from 0 to 1.
        """
        self._app = app
        self._max_requests = max_requests
        self._shed_above = shed_above
        self._chance = chance
        self._serving = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        counted = False

        def count() -> None:
            nonlocal counted
            if not counted:
                self._refuse_above_limit()
                self._shed(scope)
                counted = True
                self._serving += 1

        async def receive_counted() -> Message:
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body", False):
                count()
            return message

        try:
            if _has_body(scope):
                self._refuse_above_limit()
                await self._app(scope, receive_counted, send)
            else:
                count()
                await self._app(scope, receive, send)
        except InfrastructureError as error:
            if counted:
                raise
            await refuse(error, scope, receive, send)
        finally:
            self._serving -= counted

    def _refuse_above_limit(self) -> None:
        if 0 < self._max_requests <= self._serving:
            raise InfrastructureError(f"{self._max_requests} requests are being served already")

    def _shed(self, scope: Scope) -> None:
        """Refuse a request that starts a run, with a probability that grows with the load."""
        serving, limit = self._serving + 1, self._max_requests
        load = serving / limit if limit and _starts_run(scope) else 0.0
        if load > self._shed_above and self._chance() < (load - self._shed_above) / (1 - self._shed_above):
            raise InfrastructureError(f"{serving} of {limit} requests are being served: some new runs are refused")


def _has_body(scope: Scope) -> bool:
    headers = dict(scope["headers"])
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0").strip(b"0") != b""


def _starts_run(scope: Scope) -> bool:
    path: str = scope["path"]
    return scope["method"] == "POST" and (path in ("/v1/runs", "/internal/invoke") or path.endswith("/retry"))


async def refuse(error: SyntorError, scope: Scope, receive: Receive, send: Send) -> None:
    """Send a problem from inside a middleware."""
    context = context_of(scope)
    if isinstance(error, InfrastructureError):
        _log.warning("request_not_served", trace_id=context.trace_id, code=error.code, error=str(error))
    await problem_response(error, scope["path"], context.trace_id)(scope, receive, send)


def _record(scope: Scope, context: RequestContext, duration_s: float) -> None:
    route = scope.get("route")
    template = "unmatched" if route is None else route.path
    record(context.kind, template, scope["method"], context.status, duration_s, context.started_s)
    _log.info(
        "http_request",
        method=scope["method"],
        path=scope["path"],
        status=context.status,
        duration_s=round(duration_s, 6),
        trace_id=context.trace_id,
        run_id=context.run_id or scope.get("path_params", {}).get("run_id", ""),
    )
