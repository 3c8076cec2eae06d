"""Pure delegation guards: they bound how agents of one run delegate to each other.

Five, in order, the first refusal wins: ancestry, depth, duplicate, rate, circuit breaker. Their state is folded from
the run's own events, so a restart changes nothing; each run has its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from syntor.contracts.vocabulary import Guard
from syntor.orchestrator.domain.task import Task

MAX_DEPTH = 5
DUPLICATE_WINDOW_S = 60.0
RATE_PER_MINUTE, BURST = 10, 3
FAILURE_THRESHOLD = 3  # consecutive failures that open the circuit of a pair
OPEN_S, LONGEST_OPEN_S = 300.0, 3600.0  # how long a circuit stays open at first, and at most; doubled at each trip
MAX_TASKS = 200  # of one run

Pair = tuple[str, str]
"""Delegating agent, requested agent."""


class Delegation(msgspec.Struct, frozen=True):
    """An accepted delegation."""

    at: datetime
    instruction: str
    """Its instruction, case-folded, with single blanks."""


class Circuit(msgspec.Struct, frozen=True):
    """Circuit breaker of a pair."""

    failures: int = 0
    """Consecutive failures."""
    trips: int = 0
    """How often it opened."""
    open_until: datetime | None = None


class Guards(msgspec.Struct, frozen=True):
    """State of the guards of one run."""

    delegations: Mapping[Pair, tuple[Delegation, ...]] = {}
    circuits: Mapping[Pair, Circuit] = {}


INITIAL = Guards()


def record_delegation(guards: Guards, task: Task, at: datetime) -> Guards:
    """Record an accepted delegation."""
    pair = _pair(task)
    window = at - timedelta(seconds=DUPLICATE_WINDOW_S)
    recent = tuple(earlier for earlier in guards.delegations.get(pair, ()) if earlier.at > window)
    delegations = {**guards.delegations, pair: (*recent, Delegation(at, _normal(task.instruction)))}
    return msgspec.structs.replace(guards, delegations=delegations)


def record_outcome(guards: Guards, task: Task, at: datetime, *, succeeded: bool) -> Guards:
    """Record the final outcome of a delegated task."""
    pair = _pair(task)
    circuit = guards.circuits.get(pair, Circuit())
    if succeeded:
        circuit = msgspec.structs.replace(circuit, failures=0)
    elif circuit.failures + 1 < FAILURE_THRESHOLD:
        circuit = msgspec.structs.replace(circuit, failures=circuit.failures + 1)
    else:
        open_s = min(OPEN_S * 2**circuit.trips, LONGEST_OPEN_S)
        circuit = Circuit(trips=circuit.trips + 1, open_until=at + timedelta(seconds=open_s))
    return msgspec.structs.replace(guards, circuits={**guards.circuits, pair: circuit})


def refusal(guards: Guards, task: Task, at: datetime, tasks: int) -> tuple[Guard, str] | None:
    """Return the guard that refuses a delegation, and why; None: it is accepted.

    Args:
        tasks: tasks of the run that were assigned already.
    """
    if task.agent in task.chain:
        path = " -> ".join((*task.chain, task.agent))
        return (
            "ancestry",
            f"{task.agent} already works on this ({path}); do it yourself or delegate to another agent",
        )
    if len(task.chain) > MAX_DEPTH:
        return "depth", f"this is {len(task.chain)} delegations deep, {MAX_DEPTH} are allowed; do it yourself"
    if tasks >= MAX_TASKS:
        return "depth", f"this run has {tasks} tasks, {MAX_TASKS} are allowed; finish with what there is"
    if not task.step:
        earlier = guards.delegations.get(_pair(task), ())
        window = at - timedelta(seconds=DUPLICATE_WINDOW_S)
        if any(other.instruction == _normal(task.instruction) and other.at > window for other in earlier):
            return "duplicate", f"the same task was delegated to {task.agent} less than {DUPLICATE_WINDOW_S:g} s ago"
        if _tokens(earlier, at) < 1.0:
            return (
                "rate",
                f"at most {RATE_PER_MINUTE} delegations to {task.agent} a minute, {BURST} in a burst: use a plan",
            )
    circuit = guards.circuits.get(_pair(task))
    if circuit is not None and circuit.open_until is not None and at < circuit.open_until:
        left_s = (circuit.open_until - at).total_seconds()
        return (
            "circuit",
            f"{task.agent} failed {FAILURE_THRESHOLD} times in a row; try it again in {left_s:.0f} s",
        )
    return None


def _tokens(earlier: tuple[Delegation, ...], at: datetime) -> float:
    """Return the tokens left in a bucket of `BURST` that is refilled `RATE_PER_MINUTE` times a minute."""
    left, before = float(BURST), None
    for one in earlier:
        left = _filled(left, before, one.at) - 1.0
        before = one.at
    return _filled(left, before, at)


def _filled(left: float, before: datetime | None, now: datetime) -> float:
    if before is None:
        return left
    return min(float(BURST), left + (now - before).total_seconds() * RATE_PER_MINUTE / 60.0)


def _pair(task: Task) -> Pair:
    return task.chain[-1] if task.chain else "", task.agent


def _normal(text: str) -> str:
    return " ".join(text.lower().split())
