"""Pure invariants of the log after a soak test, checked on its events and on the external effects counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from syntor.contracts.events import TERMINAL_RUN_TYPES
from syntor.contracts.session.v1 import TurnReleased, TurnTaken
from syntor.contracts.task.v1 import LlmCallDone, ToolDispatched, ToolResult
from syntor.eventsourcing.store import Recorded
from syntor.faults.fault import DEATHS, DISK, Fault
from syntor.faults.workload import Accepted

_VERSIONED = ("run.", "task.", "session.", "budget.", "agent.")


def violations(
    events: list[Recorded],
    accepted: list[Accepted],
    effects: Mapping[str, int],
) -> list[str]:
    """Return a line for each violation."""
    return [
        *_terminal_events(events, accepted),
        *version_gaps(events),
        *_repeated_calls(events),
        *turn_violations(events),
        *_effects(events, accepted, effects),
    ]


def _terminal_events(events: list[Recorded], accepted: list[Accepted]) -> list[str]:
    ends: Counter[str] = Counter()
    firsts: dict[str, int] = {}
    for recorded in events:
        if recorded.envelope.type in TERMINAL_RUN_TYPES:
            ends[recorded.envelope.runid] += 1
        elif recorded.envelope.type == "user_input":
            firsts[recorded.envelope.runid] = recorded.position
    found = [f"run {run_id} has {count} terminal events" for run_id, count in ends.items() if count > 1]
    for run in accepted:
        if firsts.get(run.run_id) != run.position:
            where = firsts.get(run.run_id)
            found.append(f"run {run.run_id} was acknowledged at {run.position}, the log has it at {where}")
        if not ends[run.run_id]:
            found.append(f"run {run.run_id} ({run.kind}) was accepted and has no end")
    found += [f"run {run_id} is in the log and has no end" for run_id in firsts if not ends[run_id]]
    return found


def without_end(events: list[Recorded], accepted: list[Accepted]) -> list[str]:
    """Return the runs that were accepted, and those in the log, that have not ended exactly once."""
    ends = Counter(r.envelope.runid for r in events if r.envelope.type in TERMINAL_RUN_TYPES)
    runs = {r.envelope.runid for r in events if r.envelope.type == "user_input"} | {each.run_id for each in accepted}
    return [f"run {run_id} has {ends[run_id]} ends" for run_id in sorted(runs) if ends[run_id] != 1]


def version_gaps(events: list[Recorded]) -> list[str]:
    """Return where the version of an event is not the successor of its aggregate's last."""
    newest: dict[str, int] = {}
    found: list[str] = []
    for recorded in events:
        subject, version = recorded.envelope.subject, recorded.envelope.version
        if subject.startswith(_VERSIONED):
            if version != newest.get(subject, 0) + 1:
                found.append(f"{subject}: version {version} at {recorded.position} follows {newest.get(subject, 0)}")
            newest[subject] = version
    return found


def _repeated_calls(events: list[Recorded]) -> list[str]:
    done: Counter[tuple[str, str, str]] = Counter()
    for recorded in events:
        subject = recorded.envelope.subject
        match recorded.event:
            case LlmCallDone(call=call):
                done[subject, "model call", str(call)] += 1
            case ToolResult(call_id=call_id):
                done[subject, "tool call", call_id] += 1
            case _:
                pass
    twice = {key: count for key, count in done.items() if count > 1}
    return [f"{subject}: {what} {which} ended {count} times" for (subject, what, which), count in twice.items()]


def unexpected_restarts(restarts: Mapping[str, int], faults: Iterable[Fault]) -> list[str]:
    """Return the services that were restarted more often than their processes were ended.

    Not judged for nats-server where the disk of the log was read-only or full: it fails to start, and is restarted once
    there is room.
    """
    faults = list(faults)
    ends = Counter(fault.target for fault in faults if fault.action in DEATHS)
    excused = {"nats"} if any(fault.target == f"{DISK}log" for fault in faults) else set[str]()
    return [
        f"{service} was restarted {count} times, and ended {ends[service]} times by a fault"
        for service, count in restarts.items()
        if count > ends[service] and service not in excused
    ]


def turn_violations(events: list[Recorded]) -> list[str]:
    """Return where a run took its session's turn while another run held it, or began without it."""
    holder: dict[str, str] = {}
    found: list[str] = []
    for recorded in events:
        session, run_id = recorded.envelope.sessionid, recorded.envelope.runid
        match recorded.event:
            case TurnTaken(run_id=taker):
                if holder.get(session):
                    found.append(f"{recorded.position}: {taker} took the turn of {holder[session]}")
                holder[session] = taker
            case TurnReleased(run_id=giver):
                if holder.get(session) == giver:
                    holder[session] = ""
            case _ if recorded.envelope.type == "run_started" and session and holder.get(session) != run_id:
                found.append(f"{recorded.position}: {run_id} began without its turn")
            case _:
                pass
    return found


def _effects(events: list[Recorded], accepted: list[Accepted], effects: Mapping[str, int]) -> list[str]:
    """Return effects that happened twice, have a result without having happened, or happened before their event."""
    numbers = {run.run_id: run.number for run in accepted if run.kind == "effect"}
    found = [f"{path} happened {count} times" for path, count in effects.items() if count > 1]
    for recorded in events:
        number = numbers.get(recorded.envelope.runid)
        if number is None:
            continue
        happened = effects.get(f"/effect/{number}", 0)
        match recorded.event:
            case ToolResult(is_error=False, content=content) if content.startswith("HTTP 200") and not happened:
                found.append(f"effect {number} has a result and never happened")
            case _:
                pass
    dispatched = {r.envelope.runid for r in events if isinstance(r.event, ToolDispatched)}
    for run_id, number in numbers.items():
        if effects.get(f"/effect/{number}", 0) and run_id not in dispatched:
            found.append(f"effect {number} happened before it was recorded")
    return found
