"""Keeps web pages of others away: checks Host and Origin against DNS rebinding.

A page on the internet can make its visitor's browser send requests here, under a name its owner points at 127.0.0.1
or across origins. Programs send no Origin and name the host they were given. On an address others can reach, requests
need a token, which no browser sends by itself: there any Host is answered.
"""

from __future__ import annotations

import ipaddress

from syntor.ingress.errors import ForbiddenError
from syntor.ingress.exchange import Exchange

_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]", ""})


def is_loopback(host: str) -> bool:
    """Tell whether an address to listen on can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class OriginCheck:
    """The check of one server, which listens on `host`."""

    def __init__(self, host: str) -> None:
        self._names = _LOCAL_NAMES | {f"[{host}]" if ":" in host else host}
        self._local = is_loopback(host)

    def check(self, exchange: Exchange) -> None:
        """Let a request pass.

        Raises:
            ForbiddenError: it names another host, or comes from a page of another origin.
        """
        host = exchange.headers.get(b"host", b"").decode("latin-1")
        if self._local and _name_of(host) not in self._names:
            raise ForbiddenError(f"Host {host!r} is not this server")
        origin = exchange.headers.get(b"origin")
        if origin is not None:
            authority = origin.decode("latin-1").partition("://")[2]
            if authority.lower() != host.lower() or not authority:
                raise ForbiddenError(f"Origin {origin.decode('latin-1')!r}: only this server's own pages may ask")


def _name_of(authority: str) -> str:
    name = authority.lower()
    if name.startswith("["):
        return name.partition("]")[0] + "]"
    return name.partition(":")[0]
