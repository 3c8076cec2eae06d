"""The table of model calls, from which usage is summed; rows are added and never read here."""

from __future__ import annotations

from syntor.contracts.task.v1 import LlmCallDone
from syntor.eventsourcing.store import Recorded
from syntor.projections.projection import Rows, Table
from syntor.projector.domain import columns
from syntor.projector.domain.columns import INTEGER, REAL, TEXT
from syntor.projector.domain.runs import RUNS
from syntor.projector.domain.tasks import agent_of

MODEL_CALLS = Table(
    "model_calls",
    {
        "call_id": TEXT, "run_id": TEXT, "session_id": TEXT, "agent": TEXT, "model": TEXT, "day": TEXT,
        **columns.USAGE, "duration_s": REAL, "position": INTEGER,
    },
    indexes=(("run_id",),),
)  # fmt: skip


def apply(rows: Rows, recorded: Recorded) -> None:
    """Add the row of a model call of a known run."""
    event, envelope = recorded.event, recorded.envelope
    if not isinstance(event, LlmCallDone):
        return
    run = rows.get(RUNS.name, envelope.runid)
    if run is None:
        return
    call_id = f"{envelope.subject.removeprefix('task.')}.{event.call}"
    call = {
        "call_id": call_id,
        "run_id": envelope.runid,
        "session_id": envelope.sessionid,
        "agent": agent_of(rows, recorded) or run["agent"],
        "model": f"{event.provider}/{event.model}",
        "day": envelope.time.strftime("%Y-%m-%d"),
        **columns.usage(event.usage),
        "duration_s": event.duration_s,
        "position": recorded.position,
    }
    rows.put(MODEL_CALLS.name, call_id, call)
