"""Builds and parses every subject, from the event table. Subject literals stand here and in the table, nowhere else.

Stable tokens first, ids without dots, event type last. A type with a key has it as the very last token: a task's
assignment its queue, so that an agent service can filter on it; a decision on an approval that approval, so that the
server accepts the first one only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from syntor.contracts.errors import InvalidInputError, MalformedMessageError
from syntor.contracts.events import CATALOGUE, TERMINAL_RUN_EVENTS, Category, Event, Writer
from syntor.contracts.ids import is_token
from syntor.contracts.run.v1 import TaskAssigned

EVENTS_PREFIX = "syntor.events"
ALL_EVENTS = f"{EVENTS_PREFIX}.>"
ALL_TIMERS = "syntor.timers.>"
TIMERS_FIRED = "syntor.timers.fired.>"
ALL_PRESENCE = "syntor.presence.>"
ALL_DEAD_LETTERS = "syntor.dlq.>"

_TOKENS = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+\Z")

RUN_CATEGORIES = frozenset(
    category.name for category in CATALOGUE.categories() if category.of_run and category.subject_prefix == EVENTS_PREFIX
)
"""Categories of the log whose aggregate id begins with a run id."""
TASK_CATEGORIES = frozenset({"task", "output"})  # their aggregate id is `<run_id>.<task_id>`


class EventSubject(NamedTuple):
    """A parsed event subject."""

    category: str
    """run, task, output, request, agent, session, ..."""
    aggregate_id: str
    """Id within the category; `<run_id>.<task_id>` for task and output."""
    type: str
    """Event type."""
    key: str
    """Last token of a type with a key: the queue of a task assignment, the id of an approval; else empty."""

    @property
    def run_id(self) -> str:
        """Run it belongs to, empty for other categories."""
        return self.aggregate_id.partition(".")[0] if self.category in RUN_CATEGORIES else ""


def token(value: str, field: str) -> str:
    """Return `value` if it is a valid id token.

    Raises:
        InvalidInputError: it is not; names `field`, the value and what is allowed.
    """
    if not is_token(value):
        raise InvalidInputError(
            f"{field} {value!r}: use 1 to 64 of the characters a-z, A-Z, 0-9, '_' and '-'", field=field
        )
    return value


def of_event(event: Event, aggregate_id: str) -> str:
    """Return the subject an event is stored under.

    Raises:
        MalformedMessageError: an id or key in it is no token, so that no server would take it, or another consumer.
    """
    row = CATALOGUE.row_of(event)
    key = row.key_of(event)
    subject = _address(row.category, aggregate_id, row.type, key)
    if (row.key and (not key or "." in key)) or not _TOKENS.match(subject):
        raise MalformedMessageError(f"{row.type} of {aggregate_id!r} with key {key!r}: ids and keys must be tokens")
    return subject


def of_type(struct: type[Event], aggregate_id: str = "", key: str = "*") -> str:
    """Return the filter of one event type.

    Args:
        aggregate_id: only in this aggregate; empty: in all.
        key: only with this key, for types that have one.
    """
    row = CATALOGUE.row_of(struct)
    category = CATALOGUE.category(row.category)
    assert category is not None
    ids = aggregate_id or ".".join("*" for _ in category.id_fields)
    return _address(row.category, ids, row.type, key if row.key else "")


def event(category: str, aggregate_id: str, type_: str, key: str = "") -> str:
    """Return a subject from its parts; `key` for types with a key only (`*`: any, for a filter)."""
    return _address(category, aggregate_id, type_, key)


def _address(category: str, aggregate_id: str, type_: str, key: str) -> str:
    known = CATALOGUE.category(category)
    if known is not None and known.subject_prefix != EVENTS_PREFIX:
        return f"{known.subject_prefix}.{aggregate_id}"
    suffix = f".{key}" if key else ""
    return f"{EVENTS_PREFIX}.{category}.{aggregate_id}.{type_}{suffix}"


def consistency_boundary(event: Event, aggregate_id: str) -> str:
    """Return the filter an append's expected revision is about; empty: appends of its category have none."""
    row = CATALOGUE.row_of(event)
    category = CATALOGUE.category(row.category)
    assert category is not None
    match category.consistency:
        case "aggregate":
            return aggregate(row.category, aggregate_id)
        case "subject":
            return of_event(event, aggregate_id)
        case "none":
            return ""


def aggregate(category: str, aggregate_id: str) -> str:
    """Return the filter of all events of one aggregate."""
    return f"{EVENTS_PREFIX}.{category}.{aggregate_id}.>"


def category(name: str) -> str:
    """Return the filter of all events of a category."""
    return f"{EVENTS_PREFIX}.{name}.>"


def run_everything(run_id: str) -> str:
    """Return the filter of everything about one run, in order."""
    return f"{EVENTS_PREFIX}.*.{run_id}.>"


def is_of_run(subject: str, run_id: str) -> bool:
    """Return whether a message is about a run: its events, its tasks, their output, or a request about it."""
    tokens = subject.split(".", 4)
    return len(tokens) > 4 and tokens[3] == run_id and tokens[2] in RUN_CATEGORIES


def run_ends(run_id: str) -> list[str]:
    """Return the filters of the terminal events of a run."""
    return [of_type(struct, run_id) for struct in TERMINAL_RUN_EVENTS]


def task_queue(queue: str) -> str:
    """Return the filter of the consumer of an agent's queue."""
    return of_type(TaskAssigned, key=queue)


def task_id(run_id: str, task: str) -> str:
    """Return the aggregate id of a task and of its output."""
    return f"{run_id}.{task}"


def written_by(writers: Iterable[Writer]) -> list[str]:
    """Return the filters of the log's event types that any of `writers` may append; whole categories as one filter."""
    wanted = frozenset(writers)
    filters: list[str] = []
    for category_ in CATALOGUE.categories():
        if category_.subject_prefix == EVENTS_PREFIX:
            filters += _written(category_, wanted)
    return filters


def _written(category_: Category, writers: frozenset[Writer]) -> list[str]:
    rows = [row for row in CATALOGUE.rows() if row.category == category_.name]
    theirs = [of_type(row.struct) for row in rows if writers.intersection(row.writers)]
    return [category(category_.name)] if theirs and len(theirs) == len(rows) else theirs


def parse_event(subject: str) -> EventSubject:
    """Split an event subject.

    Raises:
        MalformedMessageError: not an event subject.
    """
    parts = subject.split(".")
    if len(parts) >= 5 and subject.startswith("syntor.events."):
        name = parts[2]
        known = CATALOGUE.category(name)
        ids = len(known.id_fields) if known is not None else 1
        tail = parts[3 + ids :]
        aggregate_id = parts[3] if ids == 1 else ".".join(parts[3 : 3 + ids])
        if len(tail) == 1:
            return EventSubject(name, aggregate_id, tail[0], "")
        if len(tail) == 2 and (row := CATALOGUE.newest(name, tail[0])) is not None and row.key:
            return EventSubject(name, aggregate_id, tail[0], tail[1])
    raise MalformedMessageError(f"subject {subject!r}: expected 'syntor.events.<category>.<id>.<type>'")


def timer_schedule(run_id: str, name: str) -> str:
    """Return the subject of a run's schedule; publishing to it again replaces the schedule."""
    return f"syntor.timers.schedule.{run_id}.{name}"


def timer_fired(run_id: str, name: str) -> str:
    """Return the subject a run's timer fires on."""
    return f"syntor.timers.fired.{run_id}.{name}"


def parse_timer_fired(subject: str) -> tuple[str, str]:
    """Split the subject of a fired timer into run id and name.

    Raises:
        MalformedMessageError: not such a subject.
    """
    parts = subject.split(".")
    if len(parts) == 5 and subject.startswith("syntor.timers.fired."):
        return parts[3], parts[4]
    raise MalformedMessageError(f"subject {subject!r}: expected 'syntor.timers.fired.<run_id>.<name>'")


def presence(agent_id: str, instance: str) -> str:
    """Return the heartbeat subject of one instance of an agent."""
    return f"syntor.presence.agent.{agent_id}.{instance}"


def parse_presence(subject: str) -> tuple[str, str]:
    """Split a heartbeat subject into agent id and instance.

    Raises:
        MalformedMessageError: not a heartbeat subject.
    """
    parts = subject.split(".")
    if len(parts) == 5 and subject.startswith("syntor.presence.agent."):
        return parts[3], parts[4]
    raise MalformedMessageError(f"subject {subject!r}: expected 'syntor.presence.agent.<agent_id>.<instance>'")


def instances(queue: str, instance: str = "") -> str:
    """Return the subject on which instances that serve a queue ask each other what they hold; empty: all of them."""
    return f"syntor.instances.{queue}.{instance}" if instance else f"syntor.instances.{queue}"


def dead_letter(stream: str, consumer: str) -> str:
    """Return the subject of a consumer's dead letters."""
    return f"syntor.dlq.{stream.lower()}.{consumer}"


def request(service: str, endpoint: str) -> str:
    """Return the request/reply subject of a service's endpoint."""
    return f"syntor.rpc.{service}.{endpoint}"
