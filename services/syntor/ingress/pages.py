"""Pages for people: the API's description, what each problem means. Self-contained, so they work offline."""

from __future__ import annotations

import html
from pathlib import Path

from syntor.contracts.errors import NotFoundError
from syntor.ingress.exchange import Exchange, encode
from syntor.ingress.openapi import document
from syntor.ingress.problems import KINDS

_HTML = b"text/html; charset=utf-8"
_POLICY = (
    b"content-security-policy",
    b"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'",
)
_DOCS = Path(__file__).with_name("docs.html")
_STYLE = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"


async def docs(exchange: Exchange) -> None:
    """GET /docs."""
    await exchange.answer(200, _DOCS.read_bytes(), _HTML, [_POLICY])


async def openapi(exchange: Exchange) -> None:
    """GET /openapi.json."""
    await exchange.answer(200, encode(document()))


async def problem_page(exchange: Exchange) -> None:
    """GET /problems/{code}: the page the `type` of a problem names."""
    code = exchange.parameters["code"]
    kind = KINDS.get(code)
    if kind is None:
        raise NotFoundError(f"no problem {code!r}; known: {', '.join(KINDS)}")
    body = f"<h1>{html.escape(kind.title)}</h1><p><code>{code}</code>, status {kind.status}</p>"
    await exchange.answer(200, _page(kind.title, f"{body}<p>{html.escape(kind.explanation)}</p>"), _HTML, [_POLICY])


def _page(title: str, body: str) -> bytes:
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{html.escape(title)}</title>'
    )
    return (
        f'<!doctype html><html lang="en"><head>{head}<style>{_STYLE}</style></head><body>{body}</body></html>'.encode()
    )
