"""Pure invariants of the log after a soak test, checked on its events and on the external effects counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from syntor.contracts.events import TERMINAL_RUN_TYPES
from syntor.contracts.session.v1 import TurnReleased, TurnTaken
from syntor.contracts.task.v1 import LlmCallDone, LlmCallFailed, ToolDispatched, ToolResult
from syntor.eventsourcing.store import Recorded
from syntor.faults.injections import Disruption, Kill
from syntor.faults.workload import Accepted

_WRITERS = ("ingress", "orchestrator", "agent-worker", "agent-coordination")  # write continuously under load
_CAUSE_S = timedelta(seconds=5)  # time in which the effect of a fault outlasts it: a service starts again
_VERSIONED = ("run.", "task.", "session.", "budget.", "agent.")


def violations(
    events: list[Recorded],
    accepted: list[Accepted],
    effects: Mapping[str, int],
    disruptions: Iterable[Disruption] = (),
) -> list[str]:
    """Return a line for each violation."""
    return [
        *_terminal_events(events, accepted),
        *version_gaps(events),
        *_repeated_calls(events),
        *repeated_model_calls(events, list(disruptions)),
        *turn_violations(events),
        *_effects(events, accepted, effects),
    ]


def takeovers(events: list[Recorded], kills: Iterable[Kill]) -> list[tuple[float, str]]:
    """Return the takeover time of each interruption in seconds, and the service killed; sorted.

    Of a killed agent: for each task in progress, until its next event. Of another service: until its next event.
    """
    found: list[tuple[float, str]] = []
    for kill in kills:
        source = f"syntor/{kill.service}"
        if kill.service not in _WRITERS:
            continue
        if kill.service.startswith("agent-"):
            found += [(seconds, kill.service) for seconds in _idle_times(events, kill.at, source)]
            continue
        later = (r.envelope.time for r in events if r.envelope.time > kill.at and r.envelope.source == source)
        if (first := next(later, None)) is not None:
            found.append(((first - kill.at).total_seconds(), kill.service))
    return sorted(found)


def _idle_times(events: list[Recorded], at: datetime, source: str) -> list[float]:
    """Return for each task in progress at an instant the seconds until its next event."""
    working: dict[str, bool] = {}
    found: dict[str, float] = {}
    for recorded in events:
        subject, envelope = recorded.envelope.subject, recorded.envelope
        if not subject.startswith("task.") or envelope.source != source:
            continue
        if envelope.time <= at:
            working[subject] = envelope.type not in ("agent_invoke_done", "agent_invoke_failed", "agent_invoke_paused")
        elif working.get(subject) and subject not in found:
            found[subject] = (envelope.time - at).total_seconds()
    return list(found.values())


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


def repeated_model_calls(events: list[Recorded], disruptions: list[Disruption]) -> list[str]:
    """Return the tasks that started a model call again more often than processes ended or lost the log meanwhile.

    A call that was interrupted is made again under another number: started are at most 1 + disruptions for each
    completion. The pause of a process is no disruption.
    """
    began: dict[str, datetime] = {}
    ended: dict[str, datetime] = {}
    interrupted: Counter[str] = Counter()
    for recorded in events:
        envelope = recorded.envelope
        if not envelope.subject.startswith("task."):
            continue
        began.setdefault(envelope.subject, envelope.time)
        ended[envelope.subject] = envelope.time
        if isinstance(recorded.event, LlmCallFailed) and recorded.event.code == "interrupted":
            interrupted[envelope.subject] += 1
    found: list[str] = []
    for subject, count in interrupted.items():
        since = began[subject] - _CAUSE_S
        causes = sum(each.ended >= since and each.began <= ended[subject] for each in disruptions)
        if count > causes:
            found.append(f"{subject}: {1 + count} model calls for one completion, with {causes} disruptions meanwhile")
    return found


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
