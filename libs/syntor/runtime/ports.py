"""Reserves ports of this machine, so that processes that start at the same moment never choose the same one.

A port that is merely found free can be taken before its server binds it. A reservation is atomic between all processes
that reserve, of every user, and ends with its process: on Linux a socket in the abstract namespace, which exists per
network namespace as ports do; elsewhere a locked file.
"""

from __future__ import annotations

import itertools
import os
import socket
import sys

from syntor.contracts.errors import NotReachableError

LOOPBACK = "127.0.0.1"
_TRIES = 500
_UNPRIVILEGED = range(15_000, 32_000)  # below the ports that systems give to outgoing connections


class Reservation:
    """A port that no other reservation of this machine holds; `close` it when no server will use it any more."""

    def __init__(self, port: int, descriptor: int) -> None:
        self.port = port
        self._descriptor = descriptor

    def close(self) -> None:
        """Let others have the port; a repeated call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        """Close it with its last user."""
        self.close()


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Return whether a server could listen on the port now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def reserve(preferred: int, host: str = LOOPBACK) -> Reservation:
    """Reserve `preferred`, or the next port above it that is free and not reserved.

    Raises:
        NotReachableError: there is none among the next 500.
    """
    end = min(preferred + _TRIES, 65536)
    for port in range(preferred, end):
        if (reservation := _try_to_reserve(port, host)) is not None:
            return reservation
    raise NotReachableError(f"no free port on {host} from {preferred} to {end - 1}")


def reserve_any(host: str = LOOPBACK) -> Reservation:
    """Reserve any free port that the system gives to no outgoing connection.

    Raises:
        NotReachableError: there is none.
    """
    start = int.from_bytes(os.urandom(4), "big") % len(_UNPRIVILEGED)  # so that few tries meet a reserved one
    for port in itertools.chain(_UNPRIVILEGED[start:], _UNPRIVILEGED[:start]):
        if (reservation := _try_to_reserve(port, host)) is not None:
            return reservation
    raise NotReachableError(f"no free port on {host} from {_UNPRIVILEGED.start} to {_UNPRIVILEGED.stop - 1}")


def _try_to_reserve(port: int, host: str) -> Reservation | None:
    descriptor = _claim(port)
    if descriptor is None:
        return None
    reservation = Reservation(port, descriptor)
    if not is_free(port, host):  # of a program that reserves nothing
        reservation.close()
        return None
    return reservation


def _claim(port: int) -> int | None:
    """Return a descriptor that holds the port's name until it is closed; None: another process has it."""
    if sys.platform == "linux":
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0syntor-port-{port}")
        except OSError:
            claim.close()
            return None
        return claim.detach()
    import fcntl
    import tempfile
    from pathlib import Path

    folder = Path(tempfile.gettempdir()) / f"syntor-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(folder / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
