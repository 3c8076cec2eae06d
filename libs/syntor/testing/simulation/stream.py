"""A stream of the simulated server: stored messages, checks of an append, TTLs, delete markers and schedules."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from syntor.testing.simulation.matching import is_prefix_filter, literal_prefix, matches, matches_any

_NS = 1_000_000_000


class Fault(NamedTuple):
    """An error of the JetStream API."""

    code: int
    err_code: int
    description: str

    def body(self) -> dict[str, Any]:
        """Return it as an API response has it."""
        return {"code": self.code, "err_code": self.err_code, "description": self.description}


class Stored(NamedTuple):
    """A stored message."""

    seq: int
    subject: str
    payload: bytes
    headers: dict[str, str]
    timestamp_ns: int


class Ack(NamedTuple):
    """Outcome of a publish: a position, or a fault."""

    seq: int = 0
    duplicate: bool = False
    fault: Fault | None = None


class SimulatedStream:
    """One stream; `on_stored` is called for each message that was stored."""

    def __init__(self, name: str, config: dict[str, Any], wall_ns: Callable[[], int], created: str) -> None:
        self.name = name
        self.config = config
        self.created = created
        self.captures = matches_any(tuple(config["subjects"]))
        """Whether it stores messages of a subject."""
        self.last = 0
        self.messages: dict[int, Stored] = {}
        """By position, in order."""
        self.on_stored: Callable[[Stored], None] = lambda stored: None
        self.on_timer: Callable[[int, Callable[[], None]], None] = lambda at_ns, callback: None
        """Calls something at a wall time, in nanoseconds."""
        self.checks_revisions = True
        """False: a defect is simulated, expected revisions are ignored."""
        self.checks_duplicates = True
        """False: a defect is simulated, message ids are ignored."""
        self.size_bytes = 0
        """Bytes of all subjects and payloads."""
        self._wall_ns = wall_ns
        self._subjects: dict[str, list[int]] = {}
        self._prefixes: dict[str, list[int]] = {}
        self._ids: dict[str, tuple[int, int]] = {}
        self._batches: dict[str, list[tuple[str, bytes, dict[str, str]]]] = {}

    # appending

    def publish(self, subject: str, payload: bytes, headers: dict[str, str]) -> Ack | None:
        """Store a message; None: it is part of a batch that is not complete."""
        if "Nats-Batch-Id" in headers:
            return self._batched(subject, payload, headers)
        fault = self._unacceptable(subject, headers)
        if fault is not None:
            return Ack(fault=fault)
        replicated = int(self.config.get("num_replicas", 1)) > 1
        known = self._duplicate(headers)
        if replicated and known:
            return Ack(known, duplicate=True)
        if (fault := self._conflict(headers)) is not None:
            return Ack(fault=fault)
        if known:
            return Ack(known, duplicate=True)
        return Ack(self._store(subject, payload, headers))

    def _batched(self, subject: str, payload: bytes, headers: dict[str, str]) -> Ack | None:
        if not self.config.get("allow_atomic"):
            return Ack(fault=Fault(400, 10174, "batch publish is disabled"))
        batch_id = headers["Nats-Batch-Id"]
        batch = self._batches.setdefault(batch_id, [])
        batch.append((subject, payload, headers))
        if int(headers.get("Nats-Batch-Sequence", "0")) != len(batch):
            del self._batches[batch_id]
            return Ack(fault=Fault(400, 10176, "batch publish is incomplete and was abandoned"))
        if headers.get("Nats-Batch-Commit") != "1":
            return None
        del self._batches[batch_id]
        for _, _, each in batch:
            if self._duplicate(each):
                return Ack(fault=Fault(400, 10201, "batch publish contains duplicate message id"))
            if (fault := self._conflict(each)) is not None:
                return Ack(fault=fault)
        for item in batch:
            self._store(*item)
        return Ack(self.last)

    def _unacceptable(self, subject: str, headers: dict[str, str]) -> Fault | None:
        target = headers.get("Nats-Schedule-Target")
        if "Nats-Schedule" in headers:
            if not self.config.get("allow_msg_schedules"):
                return Fault(400, 10188, "message schedules is disabled")
            if not target or not self.captures(target):
                return Fault(400, 10190, "message schedules target is invalid")
            if _instant_ns(headers["Nats-Schedule"]) is None:
                return Fault(400, 10189, "message schedules pattern is invalid")
        if "Nats-TTL" in headers and not self.config.get("allow_msg_ttl"):
            return Fault(400, 10166, "per-message TTL is disabled")
        limit = int(self.config.get("max_bytes") or -1)
        if limit > 0 and self.size_bytes > limit and self.config.get("discard") == "new":
            return Fault(400, 10077, "maximum bytes exceeded")
        return None

    def _duplicate(self, headers: dict[str, str]) -> int:
        message_id = headers.get("Nats-Msg-Id", "")
        seq, at_ns = self._ids.get(message_id, (0, 0))
        window = int(self.config.get("duplicate_window") or 120 * _NS)
        return seq if self.checks_duplicates and seq and self._wall_ns() - at_ns < window else 0

    def _conflict(self, headers: dict[str, str]) -> Fault | None:
        expected = headers.get("Nats-Expected-Last-Subject-Sequence")
        if expected is None or not self.checks_revisions:
            return None
        found = self.last_of(headers.get("Nats-Expected-Last-Subject-Sequence-Subject", ""))
        seq = found.seq if found is not None else 0
        return None if seq == int(expected) else Fault(400, 10071, f"wrong last sequence: {seq}")

    def _store(self, subject: str, payload: bytes, headers: dict[str, str]) -> int:
        self.last = seq = self.last + 1
        stored = Stored(seq, subject, payload, headers, self._wall_ns())
        earlier = self._subjects.get(subject, ())
        limit = int(self.config.get("max_msgs_per_subject") or -1)
        if "Nats-Schedule" in headers or headers.get("Nats-Rollup") == "sub":
            limit = 1
        if limit > 0:
            for old in list(earlier)[: max(0, len(earlier) - limit + 1)]:
                self.remove(old)
        self.messages[seq] = stored
        self.size_bytes += len(subject) + len(payload)
        self._subjects.setdefault(subject, []).append(seq)
        end = subject.find(".")
        while end >= 0:
            self._prefixes.setdefault(subject[: end + 1], []).append(seq)
            end = subject.find(".", end + 1)
        if (message_id := headers.get("Nats-Msg-Id")) is not None:
            self._ids[message_id] = (seq, stored.timestamp_ns)
        self._plan(stored)
        self.on_stored(stored)
        return seq

    # what happens later by itself

    def _plan(self, stored: Stored) -> None:
        """Plan the end of a message with a TTL, and the firing of a schedule."""
        ttl = stored.headers.get("Nats-TTL", "")
        if ttl and ttl != "never":
            at_ns = stored.timestamp_ns + int(ttl.removesuffix("s")) * _NS
            self.on_timer(at_ns, lambda: self._expire(stored))
        if "Nats-Schedule" in stored.headers:
            due_ns = _instant_ns(stored.headers["Nats-Schedule"])
            assert due_ns is not None, "checked when it was published"
            self.on_timer(max(due_ns, stored.timestamp_ns), lambda: self._fire(stored))

    def replan(self) -> None:
        """Plan again what the stored messages call for: after a restart of the server."""
        for stored in list(self.messages.values()):
            self._plan(stored)

    def _expire(self, stored: Stored) -> None:
        if self.messages.get(stored.seq) is not stored:
            return
        self.remove(stored.seq)
        marker = int(self.config.get("subject_delete_marker_ttl") or 0)
        if marker and "Nats-Marker-Reason" not in stored.headers and not self._subjects.get(stored.subject):
            headers = {"Nats-Marker-Reason": "MaxAge", "Nats-TTL": f"{marker // _NS}s"}
            self._store(stored.subject, b"", headers)

    def _fire(self, stored: Stored) -> None:
        if self.messages.get(stored.seq) is not stored:
            return
        self.remove(stored.seq)
        headers = {name: value for name, value in stored.headers.items() if not name.startswith("Nats-")}
        headers |= {"Nats-Scheduler": stored.subject, "Nats-Schedule-Next": "purge"}
        self._store(stored.headers["Nats-Schedule-Target"], stored.payload, headers)

    # removing

    def remove(self, seq: int) -> bool:
        """Remove a message; return whether there was one."""
        stored = self.messages.pop(seq, None)
        if stored is None:
            return False
        subject = stored.subject
        self.size_bytes -= len(subject) + len(stored.payload)
        self._subjects[subject].remove(seq)
        if not self._subjects[subject]:
            del self._subjects[subject]
        end = subject.find(".")
        while end >= 0:
            self._prefixes[subject[: end + 1]].remove(seq)
            end = subject.find(".", end + 1)
        return True

    def purge(self, filter_subject: str) -> int:
        """Remove all messages that match a filter, empty: all; return how many."""
        found = [stored.seq for stored in self.after(filter_subject, 0)]
        return sum(self.remove(seq) for seq in found)

    # reading

    @property
    def first(self) -> int:
        """Position of the oldest message; one after the last for an empty stream that held some."""
        return next(iter(self.messages), self.last + 1 if self.last else 0)

    def subjects(self, filter_subject: str) -> dict[str, int]:
        """Return the number of messages of each matching subject."""
        wanted = matches(filter_subject)
        return {subject: len(found) for subject, found in self._subjects.items() if wanted(subject)}

    def last_of(self, filter_subject: str, up_to: int | None = None) -> Stored | None:
        """Return the last message that matches."""
        candidates, exact = self._candidates(filter_subject)
        wanted = matches(filter_subject)
        for seq in reversed(candidates):
            if up_to is not None and seq > up_to:
                continue
            if exact or wanted(self.messages[seq].subject):
                return self.messages[seq]
        return None

    def after(self, filter_subject: str, position: int) -> Iterator[Stored]:
        """Yield matching messages after a position, oldest first."""
        candidates, exact = self._candidates(filter_subject)
        wanted = matches(filter_subject)
        for seq in candidates[bisect_right(candidates, position) :]:
            stored = self.messages.get(seq)
            if stored is not None and (exact or wanted(stored.subject)):
                yield stored

    def last_of_each(self, filter_subjects: list[str], up_to: int) -> list[Stored]:
        """Return the last message of each matching subject, by position."""
        found: dict[str, int] = {}
        for filter_subject in filter_subjects:
            if literal_prefix(filter_subject) == filter_subject:
                names = [filter_subject] if filter_subject in self._subjects else []
            else:
                wanted = matches(filter_subject)
                names = [subject for subject in self._subjects if wanted(subject)]
            for subject in names:
                seq = next((seq for seq in reversed(self._subjects[subject]) if seq <= up_to), 0)
                if seq:
                    found[subject] = seq
        return [self.messages[seq] for seq in sorted(found.values())]

    def _candidates(self, filter_subject: str) -> tuple[list[int], bool]:
        """Return positions that may match, in order, and whether all of them do."""
        if not filter_subject or filter_subject == ">":
            return list(self.messages), True
        prefix = literal_prefix(filter_subject)
        if prefix == filter_subject:
            return self._subjects.get(filter_subject, []), True
        if not prefix:
            return list(self.messages), False
        return self._prefixes.get(prefix, []), is_prefix_filter(filter_subject)


def _instant_ns(schedule: str) -> int | None:
    """Return the instant of an `@at` schedule, nanoseconds since 1970; None: it is of another form."""
    if not schedule.startswith("@at "):
        return None
    try:
        return int(datetime.fromisoformat(schedule[4:].replace("Z", "+00:00")).timestamp() * _NS)
    except ValueError:
        return None
