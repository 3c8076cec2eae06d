"""Who may read on loopback without a token: processes of the account the server runs as, and of root."""

from __future__ import annotations

import os
from collections.abc import Callable

from starlette.requests import Request

from syntor.runtime.socket_owner import Unknown, is_supported, peer_owner
from syntor.runtime.telemetry import get_logger

_ROOT = 0


def own_processes() -> Callable[[Request], bool]:
    """Return the check of a client; where the kernel does not tell whose a connection is, it accepts every client."""
    if is_supported():
        return _is_own
    get_logger().warning("local_reads_open_to_all_accounts", fix="SYNTOR_LOCAL_READS=key")
    return lambda _: True


def _is_own(request: Request) -> bool:
    peer, own = request.scope.get("client"), request.scope.get("server")
    if peer is None or own is None:
        return False
    try:
        return peer_owner(tuple(peer), tuple(own)) in (os.geteuid(), _ROOT)
    except Unknown:
        return False
