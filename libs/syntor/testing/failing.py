"""An event store that fails like a process that dies: before or just after a chosen append."""

from __future__ import annotations

from syntor.contracts.errors import NotReachableError
from syntor.eventsourcing.store import NewEvent
from syntor.testing.memory import MemoryStore


class FailingStore(MemoryStore):
    """`MemoryStore` whose n-th append from now fails once; stored or not, as configured."""

    def __init__(self) -> None:
        super().__init__()
        self._left = 0
        self._stored = False

    def fail_at(self, append: int, *, stored: bool) -> None:
        """Let the append with this number, from 1, fail; `stored`: only after it is in the log."""
        self._left, self._stored = append, stored

    async def append(self, new: NewEvent, expected_revision: int | None) -> int:
        """Append one event, or fail as configured."""
        self._left -= 1
        if self._left == 0 and not self._stored:
            raise NotReachableError("died before it was stored")
        position = await super().append(new, expected_revision)
        if self._left == 0:
            raise NotReachableError("died after it was stored")
        return position
