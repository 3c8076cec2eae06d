"""Pure invariants of a simulated world, judged once it has settled."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

import msgspec

from syntor.contracts.events import TERMINAL_RUN_TYPES
from syntor.contracts.request.v1 import ApprovalDecision
from syntor.contracts.rpc.v1 import AgentList
from syntor.contracts.task.v1 import (
    AgentInvokeStarted,
    ApprovalApplied,
    LlmCallDone,
    LlmCallFailed,
    LlmCallStarted,
    ToolDispatched,
    ToolResult,
)
from syntor.eventsourcing.store import Recorded
from syntor.faults.invariants import turn_violations, version_gaps
from syntor.projections.projection import Row, RowKey, Rows, apply_batch
from syntor.projector.domain.read_model import ReadModel
from syntor.registry.domain import agent as agents
from syntor.replay.decisions import DecisionChecker
from syntor.simulation.scenario import Run
from syntor.simulation.services import Interruption


class Evidence(msgspec.Struct, kw_only=True):
    """What a world leaves behind."""

    events: list[Recorded]
    accepted: Mapping[str, tuple[Run, int]]
    """Runs that were accepted, with their position."""
    effects: Mapping[str, int]
    """How often each tool call had its effect."""
    model_calls: Mapping[tuple[str, int], int]
    """How often each call of a model was made."""
    interruptions: list[Interruption]
    rows: dict[RowKey, Row]
    """The read model."""
    times: Mapping[int, float]
    """Loop time at which each event was stored, by position."""
    agents: AgentList
    """What the registry lists."""


def violations(evidence: Evidence) -> list[str]:
    """Return a line for each violation."""
    events = evidence.events
    return [
        *_ends(events, evidence.accepted),
        *version_gaps(events),
        *turn_violations(events),
        *_repeated(events),
        *_superseded(events),
        *_effects(evidence),
        *_restarts(evidence),
        *_approvals(events),
        *_decisions(events),
        *_read_model(evidence),
        *_registry(evidence),
    ]


def _ends(events: list[Recorded], accepted: Mapping[str, tuple[Run, int]]) -> list[str]:
    found: list[str] = []
    firsts: dict[str, int] = {}
    ends: Counter[str] = Counter()
    for recorded in events:
        run_id, type_ = recorded.envelope.runid, recorded.envelope.type
        if type_ == "user_input":
            firsts[run_id] = recorded.position
        if recorded.envelope.subject.startswith("run.") and ends[run_id]:
            found.append(f"{recorded.position}: {type_} of run {run_id} after its end")
        ends[run_id] += type_ in TERMINAL_RUN_TYPES
    found += [f"run {run_id} has {ends[run_id]} terminal events" for run_id in firsts if ends[run_id] != 1]
    for run_id, (run, position) in accepted.items():
        if firsts.get(run_id) != position:
            found.append(f"run {run.number} was accepted at {position}, the log has it at {firsts.get(run_id)}")
    return found


def _repeated(events: list[Recorded]) -> list[str]:
    """Return messages stored twice, and calls, effects and pieces of output recorded twice."""
    seen: Counter[str] = Counter()
    for recorded in events:
        subject, event = recorded.envelope.subject, recorded.event
        seen[f"message {recorded.envelope.id}"] += 1
        match event:
            case LlmCallStarted(call=call) | LlmCallDone(call=call) | LlmCallFailed(call=call):
                seen[f"{subject} {type(event).__name__} {call}"] += 1
            case ToolDispatched(call_id=call_id) | ToolResult(call_id=call_id) | ApprovalApplied(call_id=call_id):
                seen[f"{subject} {type(event).__name__} {call_id}"] += 1
            case _:
                pass
    return [f"{what} is in the log {count} times" for what, count in seen.items() if count > 1]


def _superseded(events: list[Recorded]) -> list[str]:
    """Return events of a task appended by an attempt after another one began."""
    of_attempt: dict[str, set[str]] = {}
    found: list[str] = []
    for recorded in events:
        envelope = recorded.envelope
        if not envelope.subject.startswith("task."):
            continue
        if isinstance(recorded.event, AgentInvokeStarted):
            of_attempt[envelope.subject] = {envelope.id}
        elif envelope.causationid not in of_attempt.get(envelope.subject, ()):
            found.append(f"{recorded.position}: {envelope.type} of {envelope.subject} by a superseded attempt")
        else:
            of_attempt[envelope.subject].add(envelope.id)
    return found


def _effects(evidence: Evidence) -> list[str]:
    """Return effects of tools that happened twice, before they were recorded, or never although they have a result."""
    found = [f"effect {key} happened {count} times" for key, count in evidence.effects.items() if count > 1]
    dispatched: set[str] = set()
    for recorded in evidence.events:
        key = recorded.envelope.subject.removeprefix("task.")
        match recorded.event:
            case ToolDispatched(call_id=call_id):
                dispatched.add(f"{key}.{call_id}")
            case ToolResult(call_id=call_id, content=content) if content.startswith("rang"):
                if not evidence.effects.get(f"{key}.{call_id}"):
                    found.append(f"{recorded.position}: effect {key}.{call_id} has a result and never happened")
            case _:
                pass
    found += [f"effect {key} happened and is not recorded" for key in evidence.effects if key not in dispatched]
    return found


def _restarts(evidence: Evidence) -> list[str]:
    """Return the tasks that were begun again more often than anything happened to their holders."""
    begun: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    spans: dict[str, tuple[float, float]] = {}
    holders: defaultdict[str, set[str]] = defaultdict(set)
    for recorded in evidence.events:
        subject, at_s = recorded.envelope.subject, evidence.times[recorded.position]
        if subject.startswith("task."):
            spans[subject] = spans.get(subject, (at_s, at_s))[0], at_s
            if isinstance(recorded.event, AgentInvokeStarted):
                begun[subject].append((recorded.event.attempt, recorded.event.resume))
                holders[subject].add(recorded.event.instance.rpartition("-")[0])
    found: list[str] = []
    for subject, attempts in begun.items():
        began, ended = spans[subject]
        causes = sum(
            (not each.instance or each.instance in holders[subject]) and each.began_s <= ended and each.ended_s >= began
            for each in evidence.interruptions
        )
        again = len(attempts) - len(set(attempts))
        if again > causes:
            found.append(f"{subject} was begun again {again} times, with {causes} causes")
    return found


def _approvals(events: list[Recorded]) -> list[str]:
    """Return approvals that were applied otherwise than first decided."""
    decided: dict[str, bool] = {}
    found: list[str] = []
    for recorded in events:
        run_id = recorded.envelope.runid
        match recorded.event:
            case ApprovalDecision(approval_id=approval_id, approved=approved):
                if f"{run_id}.{approval_id}" in decided:
                    found.append(f"{recorded.position}: a second decision on {approval_id} of run {run_id}")
                decided.setdefault(f"{run_id}.{approval_id}", approved)
            case ApprovalApplied(approval_id=approval_id, approved=approved):
                if decided.get(f"{run_id}.{approval_id}") is not approved:
                    found.append(f"{recorded.position}: {approval_id} of run {run_id} was applied as {approved}")
            case _:
                pass
    return found


def _decisions(events: list[Recorded]) -> list[str]:
    """Return decisions that would not be made again."""
    checker = DecisionChecker()
    mismatches = [mismatch for recorded in events if (mismatch := checker.feed(recorded)) is not None]
    return [f"{each.position}: {each.what}: {each.found} instead of {each.expected}" for each in mismatches]


def _read_model(evidence: Evidence) -> list[str]:
    projection, rows = ReadModel(), Rows()
    failed = apply_batch(projection, rows, (each for each in evidence.events if projection.handles(each.subject)))
    found = [f"{each.recorded.position}: not applied to the read model: {each.cause}" for each in failed]
    for key in sorted(rows.changed.keys() | evidence.rows.keys()):
        if rows.changed.get(key) != evidence.rows.get(key):
            found.append(f"read model {key}: {evidence.rows.get(key)}, folded {rows.changed.get(key)}")
    return found


def _registry(evidence: Evidence) -> list[str]:
    states: dict[str, agents.Agent] = {}
    for recorded in evidence.events:
        if recorded.envelope.subject.startswith("agent."):
            agent_id = recorded.envelope.subject.removeprefix("agent.")
            state = states.get(agent_id, agents.INITIAL)
            states[agent_id] = agents.evolve(state, recorded.event, recorded.envelope.time)
    listed = {view.profile.agent_id: view for view in evidence.agents.agents}
    found: list[str] = []
    for agent_id, state in states.items():
        view = listed.get(agent_id)
        if view is None or view.profile != state.profile or view.health != state.health:
            found.append(f"registry: agent {agent_id} is {view}, folded {state}")
    return found
