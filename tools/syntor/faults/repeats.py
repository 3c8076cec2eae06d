"""Pure invariant: model calls and commands are started at most 1 + deaths times.

A call is started again only if the process that started it died. What else may interrupt a call is counted apart, by
cause: its process was silent for longer than it may keep a task, its connection to the log broke, or the log itself
refused appends or was down. Any other repetition is a violation.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

import msgspec

from syntor.contracts.task.v1 import AgentInvokeStarted, LlmCallFailed, LlmCallStarted, ToolDispatched
from syntor.eventsourcing.store import Recorded
from syntor.faults.fault import CONNECTION, DEATHS, DISK, LOG, MACHINE, PAUSE, SECOND, Fault

SHORTEST_HANG_S = 7.0  # a silent instance keeps its tasks for this long at least (agentkit.worker.takeover.SILENT_S)
_LASTS_S = timedelta(seconds=15)  # an append is retried for so long after the log or the connection was lost
DEATH, HANG, LOST = "a death", "a hang beyond the time a task is kept", "a loss of the log or of the connection"


class Repeats(msgspec.Struct):
    """Calls that were started again, by cause."""

    causes: Counter[str] = msgspec.field(default_factory=Counter[str])
    violations: list[str] = []


class _Start(msgspec.Struct, frozen=True):
    """Start of a call."""

    instance: str
    since: datetime
    """When the instance began the task."""


def repeats(events: list[Recorded], faults: list[Fault]) -> Repeats:
    """Return the calls that were started more than once, and those of them nothing explains."""
    found = Repeats(Counter(), [])
    holders: dict[str, _Start] = {}
    started: dict[tuple[str, str], _Start] = {}
    for recorded in events:
        subject, at = recorded.envelope.subject, recorded.envelope.time
        if not subject.startswith("task."):
            continue
        key, again = "", False
        match recorded.event:
            case AgentInvokeStarted(instance=instance):
                holders[subject] = _Start(instance, at)
            case LlmCallStarted(call=call):
                started[subject, f"model call {call}"] = holders[subject]
            case LlmCallFailed(call=call, code="interrupted"):
                key, again = f"model call {call}", True
            case ToolDispatched(call_id=call_id):
                key = f"command {call_id}"
                again = (subject, key) in started
            case _:
                pass
        if again:
            start = started.get((subject, key)) or holders[subject]
            cause = _cause(start, at, faults)
            if cause:
                found.causes[cause] += 1
            else:
                found.violations.append(f"{subject}: {key} was started again at {recorded.position}, no process died")
        if key.startswith("command"):
            started[subject, key] = holders[subject]
    return found


def _cause(start: _Start, until: datetime, faults: list[Fault]) -> str:
    """Return what interrupted a call; empty: nothing that may."""
    during = [fault for fault in faults if fault.overlaps(start.since, until)]
    own = [fault for fault in during if fault.instance == start.instance]
    if any(fault.action in DEATHS for fault in own):
        return DEATH
    silent = (fault.action == PAUSE and fault.duration_s >= SHORTEST_HANG_S for fault in own)
    if any(silent) or any(fault.target == MACHINE for fault in during):
        return HANG
    proxied = start.instance.startswith(SECOND.strip())
    for fault in faults:
        lost = fault.target in ("nats", LOG, f"{DISK}log") or (fault.target == CONNECTION and proxied)
        if lost and fault.began <= until and fault.ended + _LASTS_S >= start.since:
            return LOST
    return ""
