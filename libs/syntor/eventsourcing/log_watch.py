"""Pure watch over the log while it is read: the log hash, and damage that shows without a second look."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from hashlib import sha256

from syntor.contracts import subjects
from syntor.contracts.envelope import decode_envelope
from syntor.contracts.errors import ContractError
from syntor.contracts.log.v1 import LogCheckpoint
from syntor.eventsourcing.log_hash import HASH_BYTES, NOTHING, event_text
from syntor.eventsourcing.store import RawEvent
from syntor.eventsourcing.upcasting import EventReader

_CHECKPOINTS = subjects.category("log").removesuffix(">")
_MAX_KEPT = 20_000  # hashes kept to be compared with a checkpoint; one is appended every 1,000 events


class LogWatch:
    """Follows the log from some position; notices damage without keeping much.

    Reading the log costs some 20 to 50 microseconds for each event, so this loop is written to add few.
    """

    def __init__(self, position: int = 0, log_hash: str = "", damage: str = "") -> None:
        """Start after a position.

        Args:
            log_hash: log hash there; empty: position 0, or not known.
            damage: what was found before.
        """
        self.damage = damage
        """First damage found; empty: none."""
        self.position = position
        """Position of the last message, or the start."""
        self._known = bool(log_hash) or not position
        self._value = bytes.fromhex(log_hash) if log_hash else NOTHING
        self._positions: list[int] = []
        self._values: list[bytes] = []
        self._reader = EventReader()

    def log_hash(self, position: int = 0) -> str:
        """Return the log hash at a position that was seen lately, 0: the newest; empty: not known."""
        value = self._value if position in (0, self.position) else self._at(position)
        return value.hex() if self._known and value is not None else ""

    def see(self, batch: Iterable[RawEvent]) -> None:
        """Add the next messages."""
        if len(self._values) > _MAX_KEPT:
            self._positions, self._values = [], []
        value, before = self._value, self.position
        for raw in batch:
            position, subject = raw.position, raw.subject
            if position != before + 1:
                self._mark_missing(before + 1, position - 1)
            if subject.startswith(_CHECKPOINTS):
                self._compare(raw)
            event_hash = sha256(event_text(position, subject, raw.payload)).digest()[:HASH_BYTES]
            value = sha256(value + event_hash).digest()[:HASH_BYTES]
            self._positions.append(position)
            self._values.append(value)
            before = position
        self._value, self.position = value, before

    def _at(self, position: int) -> bytes | None:
        index = bisect_left(self._positions, position)
        found = index < len(self._positions) and self._positions[index] == position
        return self._values[index] if found else None

    def _compare(self, raw: RawEvent) -> None:
        """Compare with a checkpoint, unless it is about what was not seen."""
        try:
            checkpoint = self._reader.read(decode_envelope(raw.payload))
        except ContractError:
            return
        if self._known and isinstance(checkpoint, LogCheckpoint):
            value = self._at(checkpoint.position)
            if (value is not None and value.hex() != checkpoint.hash) or checkpoint.position >= raw.position:
                self._mark(f"up to position {checkpoint.position} it differs from the checkpoint at {raw.position}")

    def _mark_missing(self, first: int, last: int) -> None:
        self._mark(f"positions {first} to {last} are missing" if first < last else f"position {first} is missing")

    def _mark(self, what: str) -> None:
        self.damage = self.damage or what
