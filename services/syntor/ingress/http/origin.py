"""Protects against DNS rebinding and cross-site requests: checks Host and Origin.

A page on the internet can make its visitor's browser send requests here, under a name its owner points at 127.0.0.1
or across origins. Programs send no Origin and name the host they were given. On an address other machines can reach,
requests need a token, which no browser sends by itself: there any Host is accepted.
"""

from __future__ import annotations

import ipaddress

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from syntor.contracts.errors import InvalidInputError, RejectionError
from syntor.ingress.http.errors import ForbiddenError
from syntor.ingress.http.middleware import refuse

_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]", ""})


def is_loopback(host: str) -> bool:
    """Return whether an address to listen on can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class OriginCheck:
    """The check of a server that listens on one address."""

    def __init__(self, host: str) -> None:
        self._names = _LOCAL_NAMES | {f"[{host}]" if ":" in host else host}
        self._local = is_loopback(host)

    def check(self, headers: Headers) -> None:
        """Accept a request.

        Raises:
            ForbiddenError: it names another host, or comes from a page of another origin.
            InvalidInputError: it has the header twice, so that others may read another one than this check.
        """
        for name in ("host", "origin"):
            if len(headers.getlist(name)) > 1:
                raise InvalidInputError(
                    f"{name.capitalize()} was sent {len(headers.getlist(name))} times; send it once"
                )
        host = headers.get("host", "")
        if self._local and _name_of(host) not in self._names:
            raise ForbiddenError(f"Host {host!r} is not this server")
        origin = headers.get("origin")
        if origin is not None:
            authority = origin.partition("://")[2]
            if authority.lower() != host.lower() or not authority:
                raise ForbiddenError(f"Origin {origin!r}: only pages of this server may send requests")


class OriginMiddleware:
    """Refuses requests the check does not accept."""

    def __init__(self, app: ASGIApp, check: OriginCheck) -> None:
        self._app = app
        self._check = check

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            self._check.check(Headers(scope=scope))
        except RejectionError as exc:
            await refuse(exc, scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _name_of(authority: str) -> str:
    name = authority.lower()
    if name.startswith("["):
        return name.partition("]")[0] + "]"
    return name.partition(":")[0]
