"""The proxy the environment names for a URL: never one for loopback, and a scheme that is not supported is said."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from syntor.contracts.errors import ConfigurationError
from syntor.runtime.outgoing import names_loopback

_SUPPORTED = ("http", "https")


def proxy_of(url: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return the proxy for a URL: of `HTTP_PROXY`, `HTTPS_PROXY` or `ALL_PROXY`, unless `NO_PROXY` names its host.

    Raises:
        ConfigurationError: it has a scheme that is not supported; names the variable.
    """
    urllib_request: Any = importlib.import_module("urllib.request")  # only where an HTTP client is loaded as well
    address = urlsplit(url)
    host = address.hostname or ""
    if names_loopback(host):
        return ""
    known = {name.lower(): (name, text) for name, text in environ.items() if name.lower().endswith("_proxy") and text}
    without = known.get("no_proxy", ("", ""))[1]
    if without and urllib_request.proxy_bypass_environment(host, {"no": without}):
        return ""
    name, proxy = known.get(f"{address.scheme}_proxy") or known.get("all_proxy") or ("", "")
    scheme = proxy.partition("://")[0].lower() if "://" in proxy else "http"
    if proxy and scheme not in _SUPPORTED:
        raise ConfigurationError(
            f"{name}={scheme}://...: proxies of this scheme are not supported for {host}; use an http:// proxy, or set "
            f"NO_PROXY={host}"
        )
    return proxy


def trusts_environment(url: str) -> bool:
    """Return whether an HTTP client for a URL may read the environment, as `trust_env`; errors as `proxy_of`."""
    proxy_of(url)
    return not names_loopback(urlsplit(url).hostname or "")
