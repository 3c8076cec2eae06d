"""Pure verification of the log: fed with every message in order, finds what is missing, changed or swapped.

Five proofs, each of what the others cannot see: positions are dense, because nothing is ever deleted; a message is
stored where its envelope says; each event of an aggregate carries the hash of the one before it; a checkpoint event
has the log hash; and so has a read model, up to where it has read. A message that cannot be read but is as it was
appended is no damage.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from syntor.contracts import subjects
from syntor.contracts.envelope import Envelope, decode_envelope, schema_name
from syntor.contracts.errors import ContractError, MalformedMessageError
from syntor.contracts.events import CATALOGUE
from syntor.contracts.log.v1 import LogCheckpoint
from syntor.eventsourcing.log_hash import NOTHING, LogHash, hash_of_event
from syntor.eventsourcing.store import RawEvent
from syntor.eventsourcing.upcasting import EventReader

_MISSING = "missing from the log, or unreadable to the server"
_CHECKPOINT = schema_name("log", "log_checkpoint", 1)


class Damage(msgspec.Struct, frozen=True):
    """Part of the log is not as it was appended."""

    first: int
    """First position concerned."""
    last: int
    """Last position concerned."""
    subject: str
    """Subject or aggregate concerned; empty: not known."""
    what: str
    """What is wrong, for people."""

    @property
    def positions(self) -> str:
        """`position 7`, or `positions 7 to 9`."""
        return f"position {self.first}" if self.first == self.last else f"positions {self.first} to {self.last}"


def worst(damage: list[Damage]) -> Damage | None:
    """Return the damage to name where only one is: what is missing, else the narrowest; None: there is none."""
    return min(damage, key=lambda each: (not each.what.startswith(_MISSING), each.last - each.first), default=None)


class Claim(msgspec.Struct, frozen=True):
    """What a read model has recorded of the log it was built from."""

    position: int
    """Position it has read up to."""
    log_hash: str
    """Log hash there; empty: not recorded."""


class _Link(msgspec.Struct, frozen=True):
    position: int
    hash: str


class LogVerifier:
    """Fed with the messages of the log in order, lists the damage."""

    def __init__(self, *, after: int = 0, log_hash: bytes = NOTHING, claims: Mapping[str, Claim] | None = None) -> None:
        """Start after a position.

        Args:
            log_hash: the log hash there, of a checkpoint.
            claims: what read models recorded, by their names.
        """
        self.damage: list[Damage] = []
        self.events = 0
        self.unreadable = 0
        """Messages that cannot be read; not damage as such."""
        self.checkpoints = 0
        """Checkpoint events the log hash was compared with."""
        self._after = after
        self._log = LogHash(after, log_hash)
        self._claims = dict(claims or {})
        self._links: dict[str, _Link] = {}
        self._chained = after > 0
        """Whether an event carried a hash: a log may begin with events of a version that had none."""
        self._reader = EventReader()

    @property
    def position(self) -> int:
        """Position of the last message, or the start."""
        return self._log.position

    @property
    def log_hash(self) -> str:
        """Log hash at `position`."""
        return self._log.value.hex()

    @property
    def covered(self) -> int:
        """Position up to which the log hash was compared with a checkpoint, or the start."""
        return self._log.checked

    def feed(self, raw: RawEvent) -> Envelope | None:
        """Add the next message; return its envelope, None for an unreadable one."""
        if raw.position != self.position + 1:
            self._find(self.position + 1, raw.position - 1, "", _MISSING)
        self.events += 1
        event_hash = hash_of_event(raw.position, raw.subject, raw.payload)
        envelope = self._envelope(raw)
        self._follow(raw, event_hash, envelope)
        if envelope is not None and envelope.dataschema == _CHECKPOINT:
            self._compare(raw, envelope)
        self._log.add(raw.position, event_hash)
        for name, claim in list(self._claims.items()):
            if claim.position == raw.position:
                del self._claims[name]
                if claim.log_hash not in ("", self.log_hash) and not self._known_since(self.covered):
                    what = f"not what {name} read: the log hash differs"
                    self._find(self.covered + 1, raw.position, "", what)
        return envelope

    def finish(self, last: int) -> list[Damage]:
        """End at the last position the log claims to have; return all damage, by position."""
        if last > self.position:
            self._find(self.position + 1, last, "", _MISSING)
        for name, claim in self._claims.items():
            if claim.position > last:
                self._find(last + 1, claim.position, "", f"read by {name}, but the log ends at {last}")
        self.damage.sort(key=lambda damage: (damage.first, damage.last))
        return self.damage

    def blob_unreadable(self, raw: RawEvent, cause: str) -> None:
        """Record that the data of a message, which is kept as a blob, cannot be read."""
        self._find(raw.position, raw.position, raw.subject, f"its data cannot be read: {cause}")

    def _envelope(self, raw: RawEvent) -> Envelope | None:
        try:
            envelope = decode_envelope(raw.payload)
            if not envelope.dataref:
                self._reader.read(envelope)
        except ContractError:
            self.unreadable += 1
            return None
        stem = f"{subjects.EVENTS_PREFIX}.{envelope.subject}.{envelope.type}"
        if raw.subject != stem and not raw.subject.startswith(f"{stem}."):
            self._find(raw.position, raw.position, raw.subject, f"holds {envelope.type} of {envelope.subject}")
        elif raw.message_id and raw.message_id != envelope.id:
            self._find(raw.position, raw.position, raw.subject, f"message id {raw.message_id}, event {envelope.id}")
        return envelope

    def _follow(self, raw: RawEvent, event_hash: bytes, envelope: Envelope | None) -> None:
        """Compare the hash an event carries with the one of its aggregate's previous event."""
        aggregate = _chained_aggregate(raw.subject)
        if not aggregate:
            return
        previous = self._links.get(aggregate)
        self._links[aggregate] = _Link(raw.position, event_hash.hex())
        if envelope is None:
            return
        carried = envelope.previoushash
        self._chained = self._chained or bool(carried)
        if not self._chained:
            return
        if previous is None:
            if carried and not self._after:
                what = f"the events of {aggregate} before it are missing"
                self._find(raw.position, raw.position, raw.subject, what)
        elif carried != previous.hash:
            what = (
                f"does not follow the event of {aggregate} at position {previous.position}: one of them was changed, "
            )
            self._find(previous.position, raw.position, raw.subject, what + "or events between them are missing")

    def _compare(self, raw: RawEvent, envelope: Envelope) -> None:
        checkpoint = self._reader.read(envelope)
        if not isinstance(checkpoint, LogCheckpoint):
            return
        since = self.covered
        same = self._log.compare(checkpoint)
        self.checkpoints += same is not None
        if same is False and not self._known_since(since, checkpoint.position):
            what = f"not as recorded: the log hash differs from the checkpoint at position {raw.position}"
            self._find(since + 1, checkpoint.position, "", what)

    def _known_since(self, after: int, up_to: int | None = None) -> bool:
        """Return whether damage after a position is known already, which explains a differing hash."""
        return any(damage.last > after and (up_to is None or damage.first <= up_to) for damage in self.damage)

    def _find(self, first: int, last: int, subject: str, what: str) -> None:
        self.damage.append(Damage(first, last, subject, what))


def _chained_aggregate(subject: str) -> str:
    """Return the aggregate (`<category>.<id>`) an event of which carries a hash; empty: its category has none."""
    try:
        address = subjects.parse_event(subject)
    except MalformedMessageError:
        return ""
    category = CATALOGUE.category(address.category)
    chained = category is not None and category.consistency == "aggregate"
    return f"{address.category}.{address.aggregate_id}" if chained else ""
