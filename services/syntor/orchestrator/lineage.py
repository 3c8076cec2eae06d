"""Lineage of the orchestrator's decisions."""

from __future__ import annotations

import msgspec

from syntor.contracts.envelope import Lineage
from syntor.eventsourcing.store import Recorded
from syntor.runtime.telemetry import child_traceparent


def caused_by(trigger: Recorded, run: Lineage, traceparent: str) -> Lineage:
    """Return the lineage of an event of a run that a trigger causes.

    Args:
        traceparent: trace context to continue; empty: none.
    """
    child = child_traceparent(traceparent) if traceparent else ""
    return msgspec.structs.replace(run, causation_id=trigger.envelope.id, traceparent=child)
