"""Builds and parses every subject. Subject literals stand here and nowhere else.

Stable tokens first, ids without dots, event type last. A few types add a key as the very last token (`KEYED`): a task's
assignment its queue, so that an agent service can filter on it; a decision on an approval that approval, so that the
server takes the first one only.
"""

from __future__ import annotations

from typing import NamedTuple

from syntor.contracts.errors import InvalidInputError, MalformedMessageError
from syntor.contracts.ids import is_token

EVENTS_PREFIX = "syntor.events"
ALL_EVENTS = f"{EVENTS_PREFIX}.>"
ALL_TIMERS = "syntor.timers.>"
TIMERS_DUE = "syntor.timers.due.>"
ALL_PRESENCE = "syntor.presence.>"
ALL_DEAD_LETTERS = "syntor.dlq.>"

RUN_CATEGORIES = frozenset({"run", "task", "output", "request"})  # second token of the id part is the run id
TASK_CATEGORIES = frozenset({"task", "output"})  # their aggregate id is `<run_id>.<task_id>`


KEYED = frozenset(
    {
        ("run", "task_assigned"),
        ("run", "approval_expired"),
        ("run", "delegation_refused"),
        ("run", "step_skipped"),
        ("request", "approval_decision"),
        ("request", "tool_result"),
        ("request", "message_parked"),
    }
)
"""Category and type of events whose subject ends in a key."""


class EventSubject(NamedTuple):
    """A parsed event subject."""

    category: str
    """run, task, output, request, agent, session, ..."""
    aggregate_id: str
    """Id within the category; `<run_id>.<task_id>` for task and output."""
    type: str
    """Event type."""
    key: str
    """Last token of a keyed type: the queue of a task assignment, the id of an approval; else empty."""

    @property
    def run_id(self) -> str:
        """Run it belongs to, empty for other categories."""
        return self.aggregate_id.partition(".")[0] if self.category in RUN_CATEGORIES else ""


def token(value: str, field: str) -> str:
    """Return `value` if it may stand as one id token.

    Raises:
        InvalidInputError: it may not; names `field`, the value and what is allowed.
    """
    if not is_token(value):
        raise InvalidInputError(
            f"{field} {value!r}: use 1 to 64 of the characters a-z, A-Z, 0-9, '_' and '-'", field=field
        )
    return value


def event(category: str, aggregate_id: str, type_: str, key: str = "") -> str:
    """Return the subject of an event; `key` for keyed types only (`*`: any, for a filter)."""
    suffix = f".{key}" if key else ""
    return f"{EVENTS_PREFIX}.{category}.{aggregate_id}.{type_}{suffix}"


def aggregate(category: str, aggregate_id: str) -> str:
    """Return the filter of all events of one aggregate: the scope of its version check."""
    return f"{EVENTS_PREFIX}.{category}.{aggregate_id}.>"


def category(name: str) -> str:
    """Return the filter of all events of a category."""
    return f"{EVENTS_PREFIX}.{name}.>"


def run_everything(run_id: str) -> str:
    """Return the filter of everything about one run, in order."""
    return f"{EVENTS_PREFIX}.*.{run_id}.>"


def of_type(category: str, type_: str) -> str:
    """Return the filter of one event type in all aggregates of a category."""
    ids = "*.*" if category in TASK_CATEGORIES else "*"
    key = ".*" if (category, type_) in KEYED else ""
    return f"{EVENTS_PREFIX}.{category}.{ids}.{type_}{key}"


def task_queue(queue: str) -> str:
    """Return the filter an agent service's consumer has on its queue."""
    return f"{EVENTS_PREFIX}.run.*.task_assigned.{queue}"


def task_id(run_id: str, task: str) -> str:
    """Return the aggregate id of a task and of its output."""
    return f"{run_id}.{task}"


def parse_event(subject: str) -> EventSubject:
    """Split an event subject.

    Raises:
        MalformedMessageError: not an event subject.
    """
    parts = subject.split(".")
    if len(parts) >= 5 and subject.startswith("syntor.events."):
        name = parts[2]
        if name in TASK_CATEGORIES:
            if len(parts) == 6:
                return EventSubject(name, f"{parts[3]}.{parts[4]}", parts[5], "")
        elif len(parts) == 5:
            return EventSubject(name, parts[3], parts[4], "")
        elif len(parts) == 6 and (name, parts[4]) in KEYED:
            return EventSubject(name, parts[3], parts[4], parts[5])
    raise MalformedMessageError(f"subject {subject!r}: expected 'syntor.events.<category>.<id>.<type>'")


def timer_schedule(run_id: str, name: str) -> str:
    """Return the subject a run's timer is set on; setting it again replaces it."""
    return f"syntor.timers.schedule.{run_id}.{name}"


def timer_due(run_id: str, name: str) -> str:
    """Return the subject a run's timer arrives on."""
    return f"syntor.timers.due.{run_id}.{name}"


def parse_timer_due(subject: str) -> tuple[str, str]:
    """Split the subject of a due timer into run id and name.

    Raises:
        MalformedMessageError: not such a subject.
    """
    parts = subject.split(".")
    if len(parts) == 5 and subject.startswith("syntor.timers.due."):
        return parts[3], parts[4]
    raise MalformedMessageError(f"subject {subject!r}: expected 'syntor.timers.due.<run_id>.<name>'")


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


def dead_letter(stream: str, consumer: str) -> str:
    """Return the subject a message given up on is parked under."""
    return f"syntor.dlq.{stream.lower()}.{consumer}"


def request(service: str, endpoint: str) -> str:
    """Return the request/reply subject of a service's endpoint."""
    return f"syntor.rpc.{service}.{endpoint}"
