"""An event store in memory: the same contract as the log, for tests of what stands on it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable

from syntor.contracts.envelope import Envelope, decode_envelope, encode_envelope
from syntor.contracts.errors import ContractError, RevisionConflictError
from syntor.eventsourcing.log_hash import hash_of_event
from syntor.eventsourcing.store import NewEvent, Recorded
from syntor.eventsourcing.upcasting import EventReader


def matches(filter_subject: str, subject: str) -> bool:
    """Return whether a subject matches a filter with the wildcards `*` and `>`."""
    wanted, found = filter_subject.split("."), subject.split(".")
    for number, token in enumerate(wanted):
        if token == ">":
            return len(found) > number
        if number >= len(found) or token not in ("*", found[number]):
            return False
    return len(wanted) == len(found)


def _pattern(filter_subjects: list[str]) -> re.Pattern[str]:
    """Return a pattern of the subjects that match any of the filters; see `matches`."""
    each = (re.escape(one).replace(r"\*", "[^.]+").replace(">", ".+") for one in filter_subjects)
    return re.compile("|".join(each) or "(?!)")


class MemoryStore:
    """`EventStore` in a list; positions count from 1."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes, str]] = []
        """Subject, payload and trace context, by position - 1."""
        self._ids: dict[str, int] = {}
        self._reader = EventReader()

    async def append(self, new: NewEvent, expected_revision: int | None) -> int:
        """Append one event; see `EventStore.append`."""
        if new.message_id in self._ids:
            return self._ids[new.message_id]
        if expected_revision is not None:
            boundary = new.consistency_boundary
            found = await self.last_position(boundary)
            if found != expected_revision:
                raise RevisionConflictError(boundary, expected_revision, found)
        previous = ""
        if expected_revision and new.is_chained:
            subject, payload, _ = self.messages[expected_revision - 1]
            previous = hash_of_event(expected_revision, subject, payload).hex()
        self.messages.append((new.subject, encode_envelope(new.envelope(previous)), new.lineage.traceparent))
        self._ids[new.message_id] = len(self.messages)
        return len(self.messages)

    async def load(
        self,
        filter_subject: str,
        after: int = 0,
        up_to: int | None = None,
        wanted: Callable[[str], bool] | None = None,
        *,
        skip_unreadable: bool = False,
    ) -> AsyncIterator[Recorded]:
        """Read stored events; see `EventStore.load`."""
        last = len(self.messages) if up_to is None else min(up_to, len(self.messages))
        for position in range(after + 1, last + 1):
            subject = self.messages[position - 1][0]
            if matches(filter_subject, subject) and (wanted is None or wanted(subject)):
                for recorded in self._readable([position], skip_unreadable=skip_unreadable):
                    yield recorded

    async def last_position(self, filter_subject: str) -> int:
        """Return the position of the last message that matches; 0: none."""
        positions = (
            number for number, (subject, *_) in enumerate(self.messages, 1) if matches(filter_subject, subject)
        )
        return max(positions, default=0)

    async def last(self, filter_subject: str) -> Recorded | None:
        """Return the last event that matches, or None."""
        for position in range(len(self.messages), 0, -1):
            if matches(filter_subject, self.messages[position - 1][0]):
                return self._recorded(position)
        return None

    async def last_of_each(
        self, filter_subjects: list[str], up_to: int | None = None, *, skip_unreadable: bool = False
    ) -> list[Recorded]:
        """Return the last event of each matching subject, oldest first."""
        wanted = _pattern(filter_subjects)
        last: dict[str, int] = {}
        for position, (subject, _, _) in enumerate(self.messages[:up_to], 1):
            if wanted.fullmatch(subject):
                last[subject] = position
        return self._readable(sorted(last.values()), skip_unreadable=skip_unreadable)

    async def get(self, position: int) -> Recorded | None:
        """Return the event at a position, or None."""
        return self._recorded(position) if 1 <= position <= len(self.messages) else None

    def _readable(self, positions: list[int], *, skip_unreadable: bool) -> list[Recorded]:
        found: list[Recorded] = []
        for position in positions:
            try:
                found.append(self._recorded(position))
            except ContractError:
                if not skip_unreadable:
                    raise
        return found

    def _recorded(self, position: int) -> Recorded:
        subject, payload, traceparent = self.messages[position - 1]
        envelope: Envelope = decode_envelope(payload)
        return Recorded(position, subject, envelope, self._reader.read(envelope), traceparent)
