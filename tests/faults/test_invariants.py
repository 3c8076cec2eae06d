"""The invariants find each violation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from syntor.contracts.envelope import Envelope
from syntor.contracts.events import Event
from syntor.contracts.run.v1 import RunDone, RunStarted, UserInput
from syntor.contracts.session.v1 import TurnReleased, TurnTaken
from syntor.contracts.task.v1 import LlmCallDone, ToolDispatched, ToolResult
from syntor.eventsourcing.store import Recorded
from syntor.faults.fault import KILL, Fault
from syntor.faults.invariants import unexpected_restarts, violations
from syntor.faults.workload import Accepted

AT = datetime(2026, 11, 21, tzinfo=UTC)
TYPES: dict[type[msgspec.Struct], str] = {
    UserInput: "user_input", RunStarted: "run_started", RunDone: "run_done", TurnTaken: "turn_taken",
    TurnReleased: "turn_released", LlmCallDone: "llm_call_done", ToolResult: "tool_result",
    ToolDispatched: "tool_dispatched",
}  # fmt: skip
ASKED, DONE = UserInput(agent="w", queue="w", content="x"), RunDone(final_message="y")
RUN = Accepted("r1", 1, 7, "effect")


def _log(*events: tuple[str, int, Event]) -> list[Recorded]:
    """Return a log of events, each with its subject and version, a second apart."""
    found: list[Recorded] = []
    for position, (subject, version, event) in enumerate(events, 1):
        envelope = Envelope(
            specversion="1.0", id=f"m{position}", source="syntor/x", type=TYPES[type(event)], subject=subject,
            time=AT + timedelta(seconds=position), dataschema="-", version=version, runid="r1", sessionid="s1",
        )  # fmt: skip
        found.append(Recorded(position, f"syntor.events.{subject}.x", envelope, event))
    return found


GOOD = (
    ("run.r1", 1, ASKED),
    ("session.s1", 1, TurnTaken(run_id="r1")),
    ("run.r1", 2, RunStarted(agent="w")),
    ("task.r1.t1", 1, LlmCallDone(call=1)),
    ("task.r1.t1", 2, ToolDispatched(call_id="c1")),
    ("task.r1.t1", 3, ToolResult(call_id="c1", content="HTTP 200, text")),
    ("run.r1", 3, DONE),
    ("session.s1", 2, TurnReleased(run_id="r1")),
)


def _found(*events: tuple[str, int, Event], **effects: int) -> str:
    counted = {"/effect/7": effects.get("happened", 1)}
    return " | ".join(violations(_log(*events), [RUN], counted))


def test_a_good_log_has_no_violation() -> None:
    assert _found(*GOOD) == ""


def test_each_violation_is_found() -> None:
    assert "has no end" in _found(*GOOD[:6])
    assert "has 2 terminal events" in _found(*GOOD[:7], ("run.r1", 4, DONE))
    assert "version 4 at 7 follows 2" in _found(*GOOD[:6], ("run.r1", 4, DONE))
    assert "model call 1 ended 2 times" in _found(*GOOD[:4], ("task.r1.t1", 2, LlmCallDone(call=1)))
    assert "took the turn of r1" in _found(*GOOD[:2], ("session.s1", 2, TurnTaken(run_id="r2")))
    assert "began without its turn" in _found(GOOD[0], ("run.r1", 2, RunStarted(agent="w")))
    assert "/effect/7 happened 2 times" in _found(*GOOD, happened=2)
    assert "effect 7 has a result and never happened" in _found(*GOOD, happened=0)
    assert "effect 7 happened before it was recorded" in _found(*GOOD[:4], GOOD[6])
    moved = violations(_log(*GOOD), [Accepted("r1", 5, 7, "plain")], {})
    assert moved == ["run r1 was acknowledged at 5, the log has it at 1"]


def test_a_service_is_restarted_as_often_as_a_fault_ended_it() -> None:
    faults = [Fault(target, KILL, AT, AT) for target in ("ingress", "ingress", "nats")]
    assert unexpected_restarts({"ingress": 2, "nats": 1, "registry": 0}, faults) == []
    assert unexpected_restarts({"ingress": 3, "registry": 1}, faults) == [
        "ingress was restarted 3 times, and ended 2 times by a fault",
        "registry was restarted 1 times, and ended 0 times by a fault",
    ]
    read_only = Fault("disk of log", "read-only", AT, AT)
    assert unexpected_restarts({"nats": 9}, [*faults, read_only]) == []
    assert unexpected_restarts({"projector": 1}, [*faults, read_only]) != []
    assert unexpected_restarts({"nats": 9}, [*faults, Fault("disk of database", "read-only", AT, AT)]) != []
