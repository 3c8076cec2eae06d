"""New events with every field a store needs, for tests that care for few of them."""

from __future__ import annotations

from datetime import UTC, datetime

from syntor.contracts.envelope import Lineage
from syntor.contracts.events import Event
from syntor.contracts.ids import new_id
from syntor.contracts.output.v1 import AgentStreamDelta
from syntor.contracts.run.v1 import UserInput
from syntor.eventsourcing.store import NewEvent

WRITTEN_AT = datetime(2026, 1, 1, tzinfo=UTC)


def new_event(aggregate_id: str, event: Event, *, version: int = 1, message_id: str = "") -> NewEvent:
    """Return an event ready to append; the first token of `aggregate_id` is its run."""
    return NewEvent(
        aggregate_id=aggregate_id,
        event=event,
        message_id=message_id or new_id(),
        source="test",
        time=WRITTEN_AT,
        version=version,
        lineage=Lineage(run_id=aggregate_id.partition(".")[0]),
    )


def user_input(run_id: str, content: str = "hello", *, version: int = 1, message_id: str = "") -> NewEvent:
    """Return a `user_input` of a run: of an aggregate whose version is checked."""
    event = UserInput(agent="worker", queue="worker", content=content)
    return new_event(run_id, event, version=version, message_id=message_id)


def stream_delta(run_id: str, text: str = "x", *, index: int = 0, message_id: str = "") -> NewEvent:
    """Return an `agent_stream_delta` of a run's first task: appended without a check."""
    event = AgentStreamDelta(call=1, index=index, text=text)
    return new_event(f"{run_id}.t1", event, version=0, message_id=message_id)
