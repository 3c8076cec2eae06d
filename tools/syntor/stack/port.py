"""Allocates ports of one stack: the preferred one if it is free, else the next free one, reserved until released."""

from __future__ import annotations

from syntor.runtime.ports import LOOPBACK, Reservation, is_free, reserve

__all__ = ["HTTP_PORT", "LOOPBACK", "MONITOR_PORT", "NATS_PORT", "Ports", "is_free"]

HTTP_PORT = 8420
NATS_PORT = 4230  # not 4222, the default of other nats-servers
MONITOR_PORT = 8230


class Ports:
    """The ports of one stack, each allocated once; no other stack of this machine allocates one of them meanwhile."""

    def __init__(self) -> None:
        self._taken: dict[int, Reservation] = {}

    def take(self, preferred: int, host: str = LOOPBACK) -> int:
        """Return `preferred`, or the next free port above it.

        Raises:
            NotReachableError: none is free among the next 500.
        """
        reservation = reserve(preferred, host)
        self._taken[reservation.port] = reservation
        return reservation.port

    def replace(self, port: int, host: str = LOOPBACK) -> int:
        """Give up an allocated port that another program took, and return the next free one above it."""
        other = self.take(port + 1, host)
        if (reservation := self._taken.pop(port, None)) is not None:
            reservation.close()
        return other
