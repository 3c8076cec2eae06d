"""The invariants find each violation, and the same seed injects the same faults."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from syntor.contracts.envelope import Envelope
from syntor.contracts.events import Event
from syntor.contracts.run.v1 import RunDone, RunStarted, UserInput
from syntor.contracts.session.v1 import TurnReleased, TurnTaken
from syntor.contracts.task.v1 import AgentInvokeStarted, LlmCallDone, LlmCallFailed, ToolDispatched, ToolResult
from syntor.contracts.topology import TASK_ACK_WAIT_S
from syntor.eventsourcing.store import Recorded
from syntor.faults import proxy
from syntor.faults.injections import Disruption, Kill, plan
from syntor.faults.invariants import repeated_model_calls, takeovers, violations
from syntor.faults.workload import Accepted

AT = datetime(2026, 11, 21, tzinfo=UTC)
TYPES: dict[type[msgspec.Struct], str] = {
    UserInput: "user_input", RunStarted: "run_started", RunDone: "run_done", TurnTaken: "turn_taken",
    TurnReleased: "turn_released", LlmCallDone: "llm_call_done", ToolResult: "tool_result",
    LlmCallFailed: "llm_call_failed", ToolDispatched: "tool_dispatched", AgentInvokeStarted: "agent_invoke_started",
}  # fmt: skip
ASKED, DONE = UserInput(agent="w", queue="w", content="x"), RunDone(final_message="y")
RUN = Accepted("r1", 1, 7, "effect")


def _log(*events: tuple[str, int, Event], source: str = "syntor/x") -> list[Recorded]:
    """Return a log of events, each with its subject and version, a second apart."""
    found: list[Recorded] = []
    for position, (subject, version, event) in enumerate(events, 1):
        envelope = Envelope(
            specversion="1.0", id=f"m{position}", source=source, type=TYPES[type(event)], subject=subject,
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


def test_a_model_call_may_be_repeated_as_often_as_a_process_ended() -> None:
    interrupted = LlmCallFailed(call=1, code="interrupted", message="")
    log = _log(
        ("task.r1.t1", 1, AgentInvokeStarted(agent="w", instance="i")),
        ("task.r1.t1", 2, interrupted),
        ("task.r1.t1", 3, interrupted),
        ("task.r1.t1", 4, LlmCallDone(call=3)),
    )
    before, within, after = (
        Disruption("agent-worker", AT + timedelta(seconds=start), AT + timedelta(seconds=start + 0.1))
        for start in (-60, 2, 60)
    )
    assert repeated_model_calls(log, [within, within]) == []
    found = "task.r1.t1: 3 model calls for one completion, with 1 disruptions meanwhile"
    assert repeated_model_calls(log, [before, within, after]) == [found]
    assert found in violations(log, [], {}, [within])


def test_processes_are_paused_for_less_than_a_lease_and_nats_for_less_than_its_clients_notice() -> None:
    pauses = [(each.service, each.pause_s) for each in plan(1, 2000) if each.action == "pause"]
    stalls = [seconds for service, seconds in pauses if service != "nats"]
    assert 1.0 <= min(stalls) < 1.5
    assert 9.5 < max(stalls) <= 10.0 < TASK_ACK_WAIT_S
    assert max(seconds for service, seconds in pauses if service == "nats") < 2.0


def test_takeover_is_measured_from_the_kill() -> None:
    log = _log(
        ("task.r1.t1", 1, AgentInvokeStarted(agent="w", instance="i")),
        ("task.r1.t1", 2, LlmCallDone(call=1)),
        ("task.r1.t1", 3, LlmCallDone(call=2)),
        source="syntor/agent-worker",
    )
    assert takeovers(log, [Kill("agent-worker", AT + timedelta(seconds=2.5))]) == [(0.5, "agent-worker")]
    assert takeovers(log, [Kill("agent-coordination", AT + timedelta(seconds=2.5))]) == []


def test_the_same_seed_injects_the_same_faults() -> None:
    assert plan(5, 40) == plan(5, 40)
    assert plan(5, 40) != plan(6, 40)
    assert {injection.action for injection in plan(5, 200, plain=True)} == {"kill", "pause", "restart"}
    actions = {injection.action for injection in plan(5, 200)} - {"jump"}  # of a clock, with libfaketime only
    assert actions == {"kill", "pause", "restart", "full", *proxy.MODES}
