"""Loopback is never proxied, and a proxy whose scheme is not supported is named."""

from __future__ import annotations

import pytest

from syntor.contracts.errors import ConfigurationError
from syntor.runtime.proxies import proxy_of

PROXY = "http://proxy.example.org:3128"


def test_loopback_has_no_proxy_whatever_the_environment_says() -> None:
    environ = {"HTTP_PROXY": PROXY, "https_proxy": PROXY, "ALL_PROXY": "socks5://127.0.0.1:1"}
    for url in ("http://127.0.0.1:8420", "http://localhost:8420", "https://[::1]:8420"):
        assert proxy_of(url, environ) == ""


def test_other_hosts_have_the_proxy_of_their_scheme() -> None:
    assert proxy_of("https://example.org", {}) == ""
    assert proxy_of("https://example.org", {"https_proxy": PROXY}) == PROXY
    assert proxy_of("http://example.org", {"https_proxy": PROXY}) == ""
    assert proxy_of("http://example.org", {"ALL_PROXY": PROXY}) == PROXY
    assert proxy_of("http://a.example.org", {"ALL_PROXY": PROXY, "NO_PROXY": "x, .example.org"}) == ""
    assert proxy_of("http://example.org", {"ALL_PROXY": "proxy:3128"}) == "proxy:3128"


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "socks4", "ftp"])
def test_a_scheme_that_is_not_supported_is_named(scheme: str) -> None:
    environ = {"ALL_PROXY": f"{scheme}://user:secret@proxy:1080"}
    with pytest.raises(ConfigurationError, match=f"ALL_PROXY={scheme}://.*NO_PROXY=example.org") as caught:
        proxy_of("https://example.org/x", environ)
    assert "secret" not in str(caught.value)
