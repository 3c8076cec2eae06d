"""Pure record of the faults injected, which the invariants and the takeover times refer to."""

from __future__ import annotations

from datetime import datetime

import msgspec

SECOND = "second "
CONNECTION, LOG, MACHINE, DATABASE, DISK, STORE = "connection", "log", "machine", "database", "disk of ", "store"
KILL, PAUSE, RESTART, MEMORY = "kill", "pause", "restart", "memory limit"
DEATHS = frozenset({KILL, RESTART, MEMORY})
"""Actions after which a process may have ended."""


class Fault(msgspec.Struct, frozen=True):
    """One fault, as it was injected."""

    target: str
    """A service, `second <service>`, `connection`, `log`, `machine`, `database` or `disk of <what>`."""
    action: str
    began: datetime
    ended: datetime
    instance: str = ""
    """Instance of the process it hit; empty where the target is no process of a service."""

    @property
    def duration_s(self) -> float:
        """Seconds it lasted."""
        return (self.ended - self.began).total_seconds()

    @property
    def service(self) -> str:
        """Service of the process it hit, without which instance."""
        return self.target.removeprefix(SECOND).replace("agents.", "agent-")

    def overlaps(self, since: datetime, until: datetime) -> bool:
        """Return whether it lasted at some time between two instants."""
        return self.began <= until and self.ended >= since
