"""HTTP to addresses that were checked: each request resolves its host, and connects to what `outgoing` accepted.

The module loads an HTTP client; import it where a request is made.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import httpx2

from syntor.runtime.outgoing import AddressRules, checked_addresses, literal_address
from syntor.runtime.proxies import proxy_of

_PORTS = {"http": 80, "https": 443}


def checked_client(url: str, rules: AddressRules, **options: Any) -> httpx2.AsyncClient:
    """Return a client whose connections are checked; `options` are others of `httpx2.AsyncClient`.

    Where the environment names a proxy for the URL, the proxy resolves names: only addresses in the URL are checked.

    Raises:
        RefusedAddressError: the URL has an address that may not be called.
        ConfigurationError: the proxy's scheme is not supported.
    """
    address = urlsplit(url)
    literal = literal_address(address.hostname or "")
    if literal is not None:
        rules.check(address.hostname or "", literal, address.port or _PORTS.get(address.scheme, 0))
    if proxy_of(url):
        return httpx2.AsyncClient(**options)
    return httpx2.AsyncClient(transport=CheckedTransport(rules), trust_env=False, **options)


class CheckedTransport(httpx2.AsyncBaseTransport):
    """Transport for `httpx2.AsyncClient`, which must not use proxies: they would resolve names again.

    Every request, also one a redirect leads to, is checked. The name stays in Host, in the TLS handshake and in the
    check of the certificate. Raises `RefusedAddressError` and `NotReachableError` besides the errors of httpx2.
    """

    def __init__(self, rules: AddressRules) -> None:
        self._rules = rules
        self._transports: dict[str, httpx2.AsyncHTTPTransport] = {}
        """By host: connections to one address are not shared by names, whose certificates differ."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request to the first address that accepts a connection."""
        url = request.url
        addresses = await checked_addresses(url.host, url.port or _PORTS.get(url.scheme, 0), self._rules)
        transport = self._transports.setdefault(url.host, httpx2.AsyncHTTPTransport())
        extensions = dict(request.extensions)
        if literal_address(url.host) is None:
            extensions["sni_hostname"] = url.host
        for address in addresses:
            pinned = httpx2.Request(
                request.method,
                url.copy_with(host=str(address)),
                headers=request.headers,
                stream=request.stream,
                extensions=extensions,
            )
            try:
                return await transport.handle_async_request(pinned)
            except httpx2.ConnectError:
                if address == addresses[-1]:
                    raise
        raise AssertionError("resolve returns one address at least")

    async def aclose(self) -> None:
        """Close all connections."""
        for transport in self._transports.values():
            await transport.aclose()
