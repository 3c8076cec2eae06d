"""The row of the route table: routing, access, reading and description of an operation all derive from it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, TypeVar, cast

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Send
from starlette.types import Scope as ASGIScope

from syntor.ingress.http.access import Access, Scope
from syntor.ingress.http.body import read_body
from syntor.ingress.http.context import RequestContext, context_of
from syntor.ingress.http.decoding import BodyReader
from syntor.ingress.http.parameters import PATH_PARAMETERS, HeaderParameter, Query, QueryReader

Q = TypeVar("Q")
B = TypeVar("B")

JSON = "application/json"
EVENT_STREAM = "text/event-stream"
HTML = "text/html"
IDEMPOTENCY_HEADER = "idempotency-key"
"""An operation that declares it heeds the `refusal` of its context."""
_WEIGHT = re.compile(r"(0(\.[0-9]{0,3})?|1(\.0{0,3})?)\Z")
_ID = re.compile(r"{(\w+)}")


class Call(Generic[Q, B]):
    """A request to an operation, with its parameters and body read: `Q` is the query, `B` the body."""

    __slots__ = ("body", "context", "query", "request", "wants_events")

    def __init__(self, request: Request, context: RequestContext, query: Q, body: B) -> None:
        self.request = request
        self.context = context
        self.query = query
        self.body = body
        self.wants_events = prefers_events(",".join(request.headers.getlist("accept")))
        """Whether the client prefers server-sent events to JSON."""

    def path(self, name: str) -> str:
        """Return a path parameter."""
        value: str = self.request.path_params[name]
        return value


def prefers_events(accept: str) -> bool:
    """Return whether an Accept header (RFC 9110, 12.5.1) names server-sent events, and prefers JSON not to them."""
    quality: dict[str, float] = {}
    for one in accept.split(","):
        media_type, *parameters = (part.strip().lower() for part in one.split(";"))
        weight = next((part[2:].strip() for part in parameters if part.startswith("q=")), "1")
        quality[media_type] = float(weight) if _WEIGHT.match(weight) else 0.0
    return quality.get(EVENT_STREAM, 0.0) > 0 and quality[EVENT_STREAM] >= quality.get(JSON, 0.0)


Handler = Callable[[Call[Any, Any]], Awaitable[Response]]


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A response an operation may send when it succeeds."""

    status: int = 200
    description: str
    schema: Any = None
    """Type of the JSON body; None: there is none."""
    media_type: str = JSON
    events: bool = False
    """Whether the client may have it as server-sent events."""
    headers: tuple[str, ...] = ()
    """Headers besides those of every response; keys of `openapi.RESPONSE_HEADERS`."""


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One route: method and path, handler, and all that is read, checked and described of it."""

    method: str
    path: str
    """Starlette's form: a name in braces is a path parameter, one of `PATH_PARAMETERS`."""
    handler: Handler
    id: str
    """`operationId`."""
    scope: Scope | None
    """Scope a token needs; None: no token is needed anywhere."""
    tag: str
    summary: str
    description: str = ""
    query: type[Query] = Query
    headers: tuple[HeaderParameter, ...] = ()
    body: type[msgspec.Struct] | None = None
    body_required: bool = True
    """False: a request without a body means the struct's defaults."""
    example: Mapping[str, Any] | None = None
    """Example of a body."""
    replies: tuple[Reply, ...]
    problems: tuple[str, ...] = ()
    """Codes of problems besides those any request may have; keys of `problems.KINDS`."""

    @property
    def path_parameters(self) -> list[str]:
        """Names of the path parameters, in order."""
        return _ID.findall(self.path)


class Endpoint:
    """ASGI application of a row: checks access, reads what the row declares, calls the handler, sends its response.

    Starlette would wrap a plain function in another layer that handles exceptions; the application has one already.
    """

    def __init__(self, operation: Operation, access: Access) -> None:
        self._operation = operation
        self._access = access
        self._ids = [(name, PATH_PARAMETERS[name]) for name in operation.path_parameters]
        self._repeatable = any(header.name.lower() == IDEMPOTENCY_HEADER for header in operation.headers)
        self._query = QueryReader(operation.query)
        self._body = None if operation.body is None else BodyReader(operation.body)

    async def __call__(self, scope: ASGIScope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        operation, request = self._operation, Request(scope, receive, send)
        if operation.scope is not None:
            may_repeat = self._repeatable and IDEMPOTENCY_HEADER in request.headers
            self._access.check(request, operation.scope, may_repeat=may_repeat)
        for name, parameter in self._ids:
            parameter.check(request.path_params[name])
        query = self._query.read(scope["query_string"])
        for header in operation.headers:
            header.read(request)  # refuses an invalid one before the handler looks at anything else
        body = None if self._body is None else await self._read_body(request, self._body)
        response = await operation.handler(Call(request, context_of(scope), query, body))
        await response(scope, receive, send)

    async def _read_body(self, request: Request, reader: BodyReader[Any]) -> msgspec.Struct:
        content = await read_body(request)
        if not content and not self._operation.body_required:
            return cast("type[msgspec.Struct]", self._operation.body)()
        return cast("msgspec.Struct", reader.read(content))


def reply(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a JSON response; bytes are JSON already."""
    content = value if isinstance(value, bytes) else msgspec.json.encode(value)
    return Response(content, status, headers, media_type=JSON)
