"""Allocates loopback ports: the preferred one if it is free, else the next free one."""

from __future__ import annotations

import socket

from syntor.contracts.errors import NotReachableError

LOOPBACK = "127.0.0.1"
HTTP_PORT = 8420
NATS_PORT = 4230  # not 4222, the default of other nats-servers
MONITOR_PORT = 8230
HEALTH_PORT = 8421
_TRIES = 500


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Return whether a server could listen on the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


class Ports:
    """Allocates the ports of one stack, each once."""

    def __init__(self) -> None:
        self._taken: set[int] = set()

    def take(self, preferred: int, host: str = LOOPBACK) -> int:
        """Return `preferred`, or the next free port above it.

        Raises:
            NotReachableError: none is free among the next 500.
        """
        for port in range(preferred, min(preferred + _TRIES, 65536)):
            if port not in self._taken and is_free(port, host):
                self._taken.add(port)
                return port
        raise NotReachableError(f"no free port on {host} from {preferred} to {min(preferred + _TRIES, 65536) - 1}")

    def release(self, port: int) -> None:
        """Make a port available again."""
        self._taken.discard(port)
