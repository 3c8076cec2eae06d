"""Hashes that let the log show that it is what was appended: of one event, and of the log up to a position. Pure.

An event's hash covers its position, subject and stored bytes. Each event of an aggregate carries the hash of the
aggregate's previous one; the log hash is folded over all events, in order. Both are the first 128 bits of SHA-256:
processors compute it faster than the other hashes of the standard library.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import sha256

from syntor.contracts.log.v1 import LogCheckpoint

HASH_BYTES = 16
NOTHING = bytes(HASH_BYTES)
"""Log hash at position 0."""
MAX_KNOWN = 10_000  # aggregates; a miss costs one read of one message


def hash_of_event(position: int, subject: str, payload: bytes) -> bytes:
    """Return the hash of an event as the log holds it."""
    return sha256(event_text(position, subject, payload)).digest()[:HASH_BYTES]


def event_text(position: int, subject: str, payload: bytes) -> bytes:
    """Return what an event's hash is made of."""
    return b"%d %b %b" % (position, subject.encode(), payload)


def extend(log_hash: bytes, event_hash: bytes) -> bytes:
    """Return the log hash after one more event."""
    return sha256(log_hash + event_hash).digest()[:HASH_BYTES]


class LastHashes:
    """Hashes of the last event of each aggregate a process read or appended; the least recently used are dropped."""

    def __init__(self, limit: int = MAX_KNOWN) -> None:
        self._limit = limit
        self._known: OrderedDict[str, tuple[int, bytes]] = OrderedDict()

    def add(self, aggregate: str, position: int, subject: str, payload: bytes) -> None:
        """Take note of an event of an aggregate (`<category>.<id>`); one before the newest known changes nothing."""
        known = self._known.get(aggregate)
        if known is not None and known[0] >= position:
            return
        self._known[aggregate] = (position, hash_of_event(position, subject, payload))
        self._known.move_to_end(aggregate)
        if len(self._known) > self._limit:
            self._known.popitem(last=False)

    def find(self, aggregate: str, position: int) -> str:
        """Return the hash of the event at a position, if it is the newest known of the aggregate; empty: it is not."""
        known = self._known.get(aggregate)
        return known[1].hex() if known is not None and known[0] == position else ""


class LogHash:
    """The log hash, with what is needed to compare it with a checkpoint event that arrives a little later."""

    def __init__(self, position: int = 0, log_hash: bytes = NOTHING) -> None:
        """Start after a position.

        Args:
            log_hash: the log hash there.
        """
        self.position = position
        self.value = log_hash
        self.checked = position
        """Position of the newest checkpoint that was compared, or the start."""
        self._since: list[tuple[int, bytes, bytes]] = []
        """Position, event hash and log hash of each message after `checked`."""

    def add(self, position: int, event_hash: bytes) -> None:
        """Add the next message."""
        self.value = extend(self.value, event_hash)
        self.position = position
        self._since.append((position, event_hash, self.value))

    def compare(self, checkpoint: LogCheckpoint) -> bool | None:
        """Return whether the hash is that of a checkpoint; None: its position is before the start, or not read.

        Continues from the checkpoint's hash, so that later checkpoints are about what follows it.
        """
        if checkpoint.position < self.checked:
            return None
        if checkpoint.position > self.position:
            return False
        claimed = bytes.fromhex(checkpoint.hash)
        found = next((value for position, _, value in self._since if position == checkpoint.position), None)
        if found is None and checkpoint.position == self.checked:
            return None
        later = [entry for entry in self._since if entry[0] > checkpoint.position]
        self._since, self.checked = [], checkpoint.position
        if found == claimed:
            self._since = later
            return True
        self.value = claimed
        for position, event_hash, _ in later:
            self.add(position, event_hash)
        return None if found is None else False
