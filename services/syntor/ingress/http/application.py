"""Builds the Starlette application from the route table."""

from __future__ import annotations

from typing import cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match, Route

from syntor.contracts.errors import InfrastructureError, NotFoundError, SyntorError
from syntor.ingress.http.access import Access
from syntor.ingress.http.context import context_of
from syntor.ingress.http.errors import MethodNotAllowedError
from syntor.ingress.http.middleware import ObservabilityMiddleware, RequestLimitMiddleware
from syntor.ingress.http.operation import Endpoint, Operation
from syntor.ingress.http.origin import OriginCheck, OriginMiddleware
from syntor.ingress.http.problems import problem_response
from syntor.runtime.telemetry import get_logger

CLIENT_CLOSED_REQUEST = 499  # the client does not receive it; marks the request in log and metrics (nginx's code)
_log = get_logger()


def build_application(
    operations: list[Operation], access: Access, origin: OriginCheck, max_requests: int = 0, shed_above: float = 1.0
) -> Starlette:
    """Return the application that serves a route table."""
    application = Starlette(
        routes=[route_of(operation, access) for operation in operations],
        middleware=[
            Middleware(ObservabilityMiddleware),
            Middleware(RequestLimitMiddleware, max_requests=max_requests, shed_above=shed_above),
            Middleware(OriginMiddleware, check=origin),
        ],
        exception_handlers={
            SyntorError: _on_error,
            HTTPException: _on_http_exception,
            ClientDisconnect: _on_disconnect,
        },
    )
    application.router.redirect_slashes = False
    return application


def route_of(operation: Operation, access: Access) -> Route:
    """Return the Starlette route of a row."""
    route = Route(operation.path, Endpoint(operation, access), methods=[operation.method])
    cast("set[str]", route.methods).discard("HEAD")  # Starlette adds it to GET
    return route


async def _on_error(request: Request, error: Exception) -> Response:
    context = context_of(request)
    if isinstance(error, InfrastructureError):
        _log.warning("request_not_served", trace_id=context.trace_id, code=error.code, error=str(error))
    return problem_response(cast("SyntorError", error), request.scope["path"], context.trace_id)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """Turn Starlette's 404 and 405 into problems."""
    method, path = request.method, request.scope["path"]
    routes = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
    if not routes:
        return await _on_error(request, NotFoundError(f"no path {path}; /docs lists them"))
    allowed = sorted({name for route in routes for name in route.methods})
    return await _on_error(request, MethodNotAllowedError(method, path, allowed))


async def _on_disconnect(_: Request, __: Exception) -> Response:
    return Response(status_code=CLIENT_CLOSED_REQUEST)
