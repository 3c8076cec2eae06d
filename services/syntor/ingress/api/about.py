"""Pages about the API: its OpenAPI document, a page for people, what each problem means. They work offline."""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from starlette.responses import HTMLResponse, Response

from syntor.contracts.errors import NotFoundError
from syntor.ingress.http.operation import HTML, JSON, Call, Operation, Reply
from syntor.ingress.http.parameters import Query
from syntor.ingress.http.problems import KINDS

_POLICY = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'"
}
_DOCS = Path(__file__).with_name("docs.html")
_STYLE = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"


class AboutRoutes:
    """Handlers of pages about the API; none needs a token."""

    def __init__(self, document: Callable[[], dict[str, Any]]) -> None:
        """Prepare.

        Args:
            document: returns the OpenAPI document.
        """
        self._document = document

    def operations(self) -> list[Operation]:
        """Return the rows of the route table."""
        return [
            Operation(
                method="GET",
                path="/openapi.json",
                handler=self.openapi,
                id="getOpenApi",
                scope=None,
                tag="About",
                summary="This document",
                description="OpenAPI 3.1.",
                replies=(Reply(description="The document.", schema=dict[str, Any]),),
            ),
            Operation(
                method="GET",
                path="/docs",
                handler=self.docs,
                id="getDocs",
                scope=None,
                tag="About",
                summary="This document as a page",
                description="For people.",
                replies=(Reply(description="The page.", media_type=HTML),),
            ),
            Operation(
                method="GET",
                path="/problems/{code}",
                handler=self.problem,
                id="getProblem",
                scope=None,
                tag="About",
                summary="What a problem means",
                description="The page that the `type` of a problem names.",
                replies=(Reply(description="The page.", media_type=HTML),),
                problems=("not_found",),
            ),
        ]

    async def openapi(self, _: Call[Query, None]) -> Response:
        """GET /openapi.json."""
        return Response(msgspec.json.encode(self._document()), media_type=JSON)

    async def docs(self, _: Call[Query, None]) -> Response:
        """GET /docs."""
        return HTMLResponse(_DOCS.read_bytes(), headers=_POLICY)

    async def problem(self, call: Call[Query, None]) -> Response:
        """GET /problems/{code}."""
        code = call.path("code")
        kind = KINDS.get(code)
        if kind is None:
            raise NotFoundError(f"no problem {code!r}; known: {', '.join(KINDS)}")
        body = f"<h1>{html.escape(kind.title)}</h1><p><code>{code}</code>, status {kind.status}</p>"
        page = _page(kind.title, f"{body}<p>{html.escape(kind.explanation)}</p>")
        return HTMLResponse(page, headers=_POLICY)


def _page(title: str, body: str) -> str:
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{html.escape(title)}</title>'
    )
    return f'<!doctype html><html lang="en"><head>{head}<style>{_STYLE}</style></head><body>{body}</body></html>'
