"""Takeover is measured per task from the fault to the next attempt; model calls are repeated only after a death."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from syntor.agentkit.worker.takeover import SILENT_S
from syntor.contracts.envelope import Envelope
from syntor.contracts.events import Event, type_name
from syntor.contracts.task.v1 import (
    AgentInvokeDone,
    AgentInvokeStarted,
    LlmCallDone,
    LlmCallFailed,
    LlmCallStarted,
    ToolDispatched,
)
from syntor.eventsourcing.store import Recorded
from syntor.faults.fault import KILL, PAUSE, Fault
from syntor.faults.repeats import DEATH, HANG, LOST, SHORTEST_HANG_S, repeats
from syntor.faults.takeover import PARTITION, takeovers

AT = datetime(2026, 11, 21, tzinfo=UTC)
PLACES = 2


def _at(seconds: float) -> datetime:
    return AT + timedelta(seconds=seconds)


def _log(*events: tuple[float, str, Event], source: str = "agent-worker") -> list[Recorded]:
    """Return a log of events, each with its second and its task."""
    return [
        Recorded(
            position,
            f"syntor.events.task.{task}.x",
            Envelope(
                specversion="1.0", id=f"m{position}", source=f"syntor/{source}", type=type_name(type(event)),
                subject=f"task.{task}", time=_at(seconds), dataschema="-", version=position, runid="r1",
            ),
            event,
        )
        for position, (seconds, task, event) in enumerate(events, 1)
    ]  # fmt: skip


def _began(instance: str) -> AgentInvokeStarted:
    return AgentInvokeStarted(agent="worker", instance=instance)


def _fault(
    action: str, began: float, seconds: float = 0.0, *, instance: str = "a", target: str = "agent-worker"
) -> Fault:
    return Fault(target, action, _at(began), _at(began + seconds), instance)


DONE = AgentInvokeDone(final_message="")


def test_takeover_lasts_from_the_kill_to_the_next_attempt() -> None:
    log = _log(
        (0, "t1", _began("a")),
        (1, "t2", _began("b")),
        (2.9, "t1", LlmCallStarted(call=1, provider="p", model="m")),
        (5, "t1", _began("b")),
    )
    [found] = takeovers(log, [_fault(KILL, 3)], PLACES)
    assert (found.how, found.seconds, found.queued_s, found.service) == ("death", 2.0, 0.0, "agent-worker")
    assert takeovers(log, [_fault(KILL, 3, instance="c")], PLACES) == []


def test_a_task_that_ended_before_or_began_after_the_kill_is_not_taken_over() -> None:
    log = _log((0, "t1", _began("a")), (1, "t1", DONE), (4, "t2", _began("a")), (5, "t1", _began("b")))
    assert takeovers(log, [_fault(KILL, 3)], PLACES) == []


def test_waiting_for_a_free_place_is_queueing_and_no_takeover() -> None:
    log = _log(
        (0, "t1", _began("a")),
        (0, "t2", _began("b")),
        (2, "t3", _began("b")),  # from here on both places of b are taken
        (8, "t2", DONE),
        (9, "t1", _began("b")),
    )
    [found] = takeovers(log, [_fault(KILL, 1)], PLACES)
    assert (found.seconds, found.queued_s) == (2.0, 6.0)


def test_a_hang_counts_only_where_the_task_moved() -> None:
    moved = _log((0, "t1", _began("a")), (11, "t1", _began("b")))
    [found] = takeovers(moved, [_fault(PAUSE, 1, 20)], PLACES)
    assert (found.how, found.seconds) == ("hang", 10.0)
    recovered = _log((0, "t1", _began("a")), (4, "t1", LlmCallDone(call=1)), (11, "t1", _began("b")))
    assert takeovers(recovered, [_fault(PAUSE, 1, 2)], PLACES) == []
    own = _log((0, "t1", _began("a")), (4, "t1", _began("a")))
    assert takeovers(own, [_fault(PAUSE, 1, 2)], PLACES) == []


def test_faults_that_follow_each_other_are_told_apart() -> None:
    log = _log((0, "t1", _began("a")), (11, "t1", _began("c")))
    later = [_fault(KILL, 6, instance="b"), _fault(KILL, 8, target="ingress"), _fault(KILL, 12, instance="c")]
    [found] = takeovers(log, [_fault(KILL, 1), *later], PLACES)
    assert (found.seconds, found.settled_s) == (10.0, 5.0)


def test_a_partition_hits_the_instances_behind_the_proxy() -> None:
    log = _log(
        (0, "t1", _began("second-worker-1")), (0, "t2", _began("a")), (9, "t1", _began("a")), (9, "t2", _began("b"))
    )
    [found] = takeovers(log, [_fault(PARTITION, 1, 20, instance="", target="connection")], PLACES)
    assert (found.subject, found.how, found.seconds) == ("task.t1", "hang", 8.0)


def test_a_killed_orchestrator_is_replaced_when_it_writes_again() -> None:
    log = _log((1, "t1", DONE), (4.5, "t1", DONE), source="orchestrator")
    [found] = takeovers(log, [_fault(KILL, 3, target="orchestrator")], PLACES)
    assert (found.service, found.seconds) == ("orchestrator", 1.5)


def _interrupted(instance: str = "a") -> list[Recorded]:
    return _log(
        (0, "t1", _began(instance)),
        (1, "t1", LlmCallStarted(call=1, provider="p", model="m")),
        (10, "t1", _began("b")),
        (11, "t1", LlmCallFailed(call=1, code="interrupted", message="")),
        (12, "t1", LlmCallStarted(call=2, provider="p", model="m")),
        (13, "t1", LlmCallDone(call=2)),
    )


def test_a_model_call_is_repeated_only_after_the_death_of_the_process_that_started_it() -> None:
    assert repeats(_interrupted(), [_fault(KILL, 5)]).causes == {DEATH: 1}
    for faults in ([], [_fault(KILL, 5, instance="c")], [_fault(KILL, -5)], [_fault(PAUSE, 2, 3)]):
        found = repeats(_interrupted(), faults)
        assert found.violations == ["task.t1: model call 1 was started again at 4, no process died"]
        assert not found.causes


def test_what_else_interrupts_a_model_call_is_counted_apart() -> None:
    assert repeats(_interrupted(), [_fault(PAUSE, 2, 9)]).causes == {HANG: 1}
    assert repeats(_interrupted(), [_fault("full", 2, 1, instance="", target="log")]).causes == {LOST: 1}
    reset = _fault("reset", 2, instance="", target="connection")
    assert repeats(_interrupted("second-worker-1"), [reset]).causes == {LOST: 1}
    assert repeats(_interrupted(), [reset]).violations


def test_a_command_is_started_once() -> None:
    log = _log(
        (0, "t1", _began("a")),
        (1, "t1", ToolDispatched(call_id="c")),
        (5, "t1", _began("b")),
        (6, "t1", ToolDispatched(call_id="c")),
    )
    assert repeats(log, [_fault(KILL, 3)]).causes == {DEATH: 1}
    assert repeats(log, []).violations == ["task.t1: command c was started again at 4, no process died"]


def test_the_shortest_hang_is_that_of_the_agents() -> None:
    assert SHORTEST_HANG_S == SILENT_S
