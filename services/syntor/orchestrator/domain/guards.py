"""Guards of delegation: pure. They keep agents from asking each other without end.

Five, in order, the first refusal wins: ancestry, depth, duplicate, rate, circuit. What they stand on is in the run's
own log, so a restart changes nothing; they guard each run for itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from syntor.orchestrator.domain.tasks import Task

MAX_DEPTH = 5
DUPLICATE_WINDOW_S = 60.0
RATE_PER_MINUTE, BURST = 10, 3
BOUNCES = 3  # failures in a row that open the circuit of a pair
OPEN_S, LONGEST_OPEN_S = 300.0, 3600.0  # how long it stays open at first, and at most; doubles each time
MAX_TASKS = 200  # of one run

Pair = tuple[str, str]
"""Who asks, who is asked."""


class Asked(msgspec.Struct, frozen=True):
    """A delegation that was let through."""

    at: datetime
    task: str
    """What was asked, without regard to case and blanks."""


class Circuit(msgspec.Struct, frozen=True):
    """How a pair fares."""

    failures: int = 0
    """In a row."""
    openings: int = 0
    open_until: datetime | None = None


class Guards(msgspec.Struct, frozen=True):
    """What the guards of one run stand on."""

    asked: Mapping[Pair, tuple[Asked, ...]] = {}
    circuits: Mapping[Pair, Circuit] = {}


INITIAL = Guards()


def let_through(guards: Guards, task: Task, at: datetime) -> Guards:
    """Note a delegation."""
    pair = _pair(task)
    window = at - timedelta(seconds=DUPLICATE_WINDOW_S)
    recent = tuple(asked for asked in guards.asked.get(pair, ()) if asked.at > window)
    asked = {**guards.asked, pair: (*recent, Asked(at, _normal(task.instruction)))}
    return msgspec.structs.replace(guards, asked=asked)


def ended(guards: Guards, task: Task, at: datetime, *, well: bool) -> Guards:
    """Note how a delegated task ended for good."""
    pair = _pair(task)
    circuit = guards.circuits.get(pair, Circuit())
    if well:
        circuit = msgspec.structs.replace(circuit, failures=0)
    elif circuit.failures + 1 < BOUNCES:
        circuit = msgspec.structs.replace(circuit, failures=circuit.failures + 1)
    else:
        open_s = min(OPEN_S * 2**circuit.openings, LONGEST_OPEN_S)
        circuit = Circuit(openings=circuit.openings + 1, open_until=at + timedelta(seconds=open_s))
    return msgspec.structs.replace(guards, circuits={**guards.circuits, pair: circuit})


def refusal(guards: Guards, task: Task, at: datetime, tasks: int) -> tuple[str, str] | None:
    """Return the guard that refuses a delegation, and why; None when it may go on.

    Args:
        tasks: tasks of the run that were let through already.
    """
    if task.agent in task.chain:
        path = " -> ".join((*task.chain, task.agent))
        return "ancestry", f"{task.agent} is already at work on this ({path}); do it yourself or ask another agent"
    if len(task.chain) > MAX_DEPTH:
        return "depth", f"this is {len(task.chain)} delegations deep, {MAX_DEPTH} are allowed; do it yourself"
    if tasks >= MAX_TASKS:
        return "depth", f"this run has {tasks} tasks, {MAX_TASKS} are allowed; finish with what there is"
    if not task.step:
        asked = guards.asked.get(_pair(task), ())
        window = at - timedelta(seconds=DUPLICATE_WINDOW_S)
        if any(other.task == _normal(task.instruction) and other.at > window for other in asked):
            return "duplicate", f"{task.agent} was asked for exactly this less than {DUPLICATE_WINDOW_S:g} s ago"
        if _tokens(asked, at) < 1.0:
            return "rate", f"{task.agent} may be asked {RATE_PER_MINUTE} times a minute, {BURST} at once; use a plan"
    circuit = guards.circuits.get(_pair(task))
    if circuit is not None and circuit.open_until is not None and at < circuit.open_until:
        left_s = (circuit.open_until - at).total_seconds()
        return "circuit", f"{task.agent} failed {BOUNCES} times in a row; it may be asked again in {left_s:.0f} s"
    return None


def _tokens(asked: tuple[Asked, ...], at: datetime) -> float:
    """Return what is left in a bucket that holds `BURST` and is filled `RATE_PER_MINUTE` times a minute."""
    left, before = float(BURST), None
    for one in asked:
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
