"""The credentials commands send: the token that was set, else the key of the home folder to this home's own stack."""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from syntor.contracts.errors import ConfigurationError
from syntor.runtime.local_key import read_key
from syntor.runtime.socket_owner import Unknown, listener_owner
from syntor.stack.layout import home_folder
from syntor.stack.running import running_stack

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def authorization(url: str, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the header for requests to a server; empty: there are no credentials for it.

    The key is sent to loopback and to the port of the home folder's running stack only, where a process of this account
    listens: on the way of a restart another account's could.

    Raises:
        ConfigurationError: the key file cannot be trusted, or the token that was set is none.
    """
    token = _given(environ) or _key(url, environ)
    return {"Authorization": f"Bearer {token}"} if token else {}


def _given(environ: Mapping[str, str]) -> str:
    token = environ.get("SYNTOR_TOKEN", "").strip()
    if not token.isascii() or not token.isprintable():
        wrong = next(each for each in token if not each.isascii() or not each.isprintable())
        raise ConfigurationError(f"SYNTOR_TOKEN holds U+{ord(wrong):04X}, which no token has: copy it without quotes")
    return token


def _key(url: str, environ: Mapping[str, str]) -> str:
    home, address = home_folder(environ), urlsplit(url)
    state = running_stack(home)
    if state is None or address.hostname not in _LOOPBACK or address.port is None:
        return ""
    own = urlsplit(state.url)
    if (address.scheme, address.port) != (own.scheme, own.port) or own.hostname not in _LOOPBACK:
        return ""
    return read_key(home) if _is_own(own.hostname, address.port) else ""


def _is_own(host: str, port: int) -> bool:
    try:
        return listener_owner(("::1" if host == "::1" else "127.0.0.1", port)) == os.geteuid()
    except Unknown:  # not Linux, or nothing listens yet
        return True
