"""Pure measurement of takeover: how long the work of a dead or silent process waited for the next attempt.

Measured per task that the process had begun and not ended, from the fault to the start of the next attempt. Time in
which the instance that continued had no free place is queueing, and is told apart. Tasks whose process recovered first
were not taken over.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from syntor.contracts.task.v1 import AgentInvokeDone, AgentInvokeFailed, AgentInvokePaused, AgentInvokeStarted
from syntor.eventsourcing.store import Recorded
from syntor.faults.fault import CONNECTION, DEATHS, PAUSE, SECOND, Fault

PARTITION = "partition"
_WRITERS = ("ingress", "orchestrator")  # write continuously under load
_ENDS = (AgentInvokeDone, AgentInvokeFailed, AgentInvokePaused)


class Takeover(msgspec.Struct, frozen=True):
    """One piece of work that was interrupted and continued."""

    service: str
    how: str
    """`death` or `hang`."""
    seconds: float
    """From the fault to the next attempt, without queueing."""
    queued_s: float
    """Seconds of that time in which the instance that continued worked on as many tasks as it may."""
    settled_s: float
    """The same from the last fault in between that hit an instance of the service, or NATS: where faults follow each
    other, there may have been no instance that could take over."""
    subject: str
    """Task; empty: the service itself."""
    instance: str
    """Instance that was interrupted."""
    at: datetime
    """When the fault began."""


class _Tenure(msgspec.Struct):
    """The time in which an instance worked on a task."""

    subject: str
    service: str
    instance: str
    began: datetime
    last: datetime
    """Its last event of the task."""
    ended: datetime | None = None
    """When the task ended or was paused, or another attempt began."""


def takeovers(events: Iterable[Recorded], faults: Iterable[Fault], places: int) -> list[Takeover]:
    """Return the takeovers that the faults caused, shortest first.

    Args:
        events: the whole log, oldest first.
        places: tasks that one instance works on at a time.
    """
    log, known, found = list(events), list(faults), list[Takeover]()
    tenures = _tenures(log)
    followers = _followers(tenures)
    for fault in known:
        how = _how(fault)
        if how == "death" and fault.service in _WRITERS and not fault.target.startswith(SECOND):
            source = f"syntor/{fault.service}"
            later = (r.envelope.time for r in log if r.envelope.time > fault.began and r.envelope.source == source)
            if (first := next(later, None)) is not None:
                found.append(
                    Takeover(
                        fault.service,
                        how,
                        _between(fault.began, first),
                        0.0,
                        _between(fault.began, first),
                        "",
                        fault.instance,
                        fault.began,
                    )
                )
        elif how:
            for index, tenure in enumerate(tenures):
                if _is_of(tenure, fault) and _holds(tenure, fault.began) and (after := followers.get(index)):
                    if how == "hang" and (after.instance == tenure.instance or tenure.last > fault.began):
                        continue
                    found.append(_takeover(tenure, after, fault, how, tenures, places, known))
    return sorted(found, key=lambda each: each.seconds)


def _how(fault: Fault) -> str:
    if fault.action in DEATHS:
        return "death"
    return "hang" if fault.action in (PAUSE, PARTITION) else ""


def _is_of(tenure: _Tenure, fault: Fault) -> bool:
    if fault.target == CONNECTION:
        return tenure.instance.startswith(SECOND.strip())
    return bool(fault.instance) and tenure.instance == fault.instance


def _holds(tenure: _Tenure, at: datetime) -> bool:
    return tenure.began <= at and (tenure.ended is None or tenure.ended > at)


def _tenures(events: list[Recorded]) -> list[_Tenure]:
    """Return who worked on which task from when to when, by beginning."""
    found: list[_Tenure] = []
    open_: dict[str, _Tenure] = {}
    for recorded in events:
        subject, envelope = recorded.envelope.subject, recorded.envelope
        if not subject.startswith("task."):
            continue
        current = open_.get(subject)
        if isinstance(recorded.event, AgentInvokeStarted):
            if current is not None:
                current.ended = envelope.time
            service = envelope.source.removeprefix("syntor/")
            current = _Tenure(subject, service, recorded.event.instance, envelope.time, envelope.time)
            open_[subject] = current
            found.append(current)
        elif current is not None:
            current.last = envelope.time
            if isinstance(recorded.event, _ENDS):
                current.ended = envelope.time
                del open_[subject]
    return found


def _followers(tenures: list[_Tenure]) -> dict[int, _Tenure]:
    """Return by index of a tenure that was cut off the one that began in its place."""
    found: dict[int, _Tenure] = {}
    newest: dict[str, int] = {}
    for index, tenure in enumerate(tenures):
        before = newest.get(tenure.subject)
        if before is not None and tenures[before].ended == tenure.began:
            found[before] = tenure
        newest[tenure.subject] = index
    return found


def _takeover(
    tenure: _Tenure,
    after: _Tenure,
    fault: Fault,
    how: str,
    tenures: list[_Tenure],
    places: int,
    faults: list[Fault],
) -> Takeover:
    taken_s = _between(fault.began, after.began)
    queued_s = _full_s(after.instance, fault.began, after.began, tenures, places)
    last = max(
        each.began
        for each in faults
        if each.began < after.began and (each is fault or each.service in (tenure.service, "nats", CONNECTION))
    )
    settled_s = max(0.0, _between(max(last, fault.began), after.began) - queued_s)
    return Takeover(
        tenure.service, how, taken_s - queued_s, queued_s, settled_s, tenure.subject, tenure.instance, fault.began
    )


def _full_s(instance: str, since: datetime, until: datetime, tenures: list[_Tenure], places: int) -> float:
    """Return the seconds between two instants in which an instance worked on as many tasks as it may."""
    changes = sorted(
        change
        for tenure in tenures
        if tenure.instance == instance and tenure.began < until and (tenure.ended is None or tenure.ended > since)
        for change in ((max(tenure.began, since), 1), (min(tenure.ended or until, until), -1))
    )
    full, count, at = timedelta(), 0, since
    for time, step in changes:
        if count >= places:
            full += time - at
        count, at = count + step, time
    return full.total_seconds()


def _between(since: datetime, until: datetime) -> float:
    return (until - since).total_seconds()
