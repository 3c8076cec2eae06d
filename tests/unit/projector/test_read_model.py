"""Events become rows of the read model, the same whether they are applied one by one or in batches."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from syntor.contracts import subjects
from syntor.contracts.envelope import decode_envelope
from syntor.contracts.events import Event
from syntor.contracts.request.v1 import ApprovalDecision
from syntor.contracts.run.v1 import RunDone, RunStarted, TaskAssigned, TaskTimedOut, UserInput
from syntor.contracts.task.v1 import (
    AgentInvokeDone,
    AgentInvokeStarted,
    ApprovalRequired,
    LlmCallDone,
    PlanProposed,
    PlanStep,
    Usage,
)
from syntor.eventsourcing.store import Recorded
from syntor.eventsourcing.upcasting import EventReader
from syntor.projections.projection import Row, RowKey, Rows, apply_batch
from syntor.projector.domain.read_model import ReadModel
from syntor.testing.events import new_event

GOLDEN = Path(__file__).parents[1] / "contracts/golden_messages.jsonl"
QUESTION = UserInput(agent="worker", queue="worker", content="How are you?\nTell me.")
ASSIGNED = TaskAssigned(task_id="t1", agent="worker", queue="worker")


def history(*events: tuple[str, Event]) -> list[Recorded]:
    """Return events as the log holds them, from pairs of aggregate id and event, at positions from 1."""
    written = [new_event(aggregate_id, event) for aggregate_id, event in events]
    return [Recorded(number, new.subject, new.envelope(), new.event) for number, new in enumerate(written, 1)]


def fold(recorded: list[Recorded], batch_size: int = 1000) -> dict[RowKey, Row]:
    """Apply events in batches; each sees only the rows its own events name as keys."""
    model, stored = ReadModel(), dict[RowKey, Row]()
    for start in range(0, len(recorded), batch_size):
        batch = [each for each in recorded[start : start + batch_size] if model.handles(each.subject)]
        rows = Rows({key: stored[key] for each in batch for key in model.keys(each) if key in stored})
        apply_batch(model, rows, batch)
        stored |= rows.changed
    return stored


def golden() -> list[Recorded]:
    reader = EventReader()
    envelopes = [decode_envelope(line) for line in GOLDEN.read_bytes().splitlines()]
    return [Recorded(0, f"syntor.events.{each.subject}.{each.type}", each, reader.read(each)) for each in envelopes]


@settings(max_examples=50, deadline=None)
@given(order=st.permutations(golden()), batch_size=st.integers(1, 10))
def test_batches_of_any_size_yield_the_rows_of_one_fold(order: list[Recorded], batch_size: int) -> None:
    recorded = [
        Recorded(number, each.subject, each.envelope, each.event) for number, each in enumerate(order + order, 1)
    ]

    assert fold(recorded, batch_size) == fold(recorded)


def test_a_finished_run_has_its_status_and_its_session_both_messages() -> None:
    rows = fold(
        history(
            ("r1", QUESTION),
            ("r1", RunStarted(agent="worker")),
            ("r1", ASSIGNED),
            ("r1.t1", AgentInvokeDone(final_message="Fine.")),
            ("r1", RunDone(final_message="Fine.", task_id="t1")),
        )
    )

    run, session, task = rows["runs", "r1"], rows["sessions", ""], rows["tasks", "r1.t1"]
    assert (run["status"], run["final_message"], run["first_position"], run["position"]) == ("done", "Fine.", 1, 5)
    assert (session["title"], session["runs"], session["messages"]) == ("How are you?", 1, 2)
    assert (task["status"], task["agent"]) == ("done", "worker")
    messages = [(row["role"], row["content"]) for (table, _), row in rows.items() if table == "messages"]
    assert messages == [("user", QUESTION.content), ("assistant", "Fine.")]


def test_the_usage_of_a_model_call_is_added_to_run_and_session() -> None:
    call = LlmCallDone(call=1, provider="p", model="m", usage=Usage(input_tokens=7, output_tokens=2))
    rows = fold(history(("r1", QUESTION), ("r1", ASSIGNED), ("r1.t1", call), ("r1.t1", call)))

    run, session = rows["runs", "r1"], rows["sessions", ""]
    assert (run["input_tokens"], run["output_tokens"], run["llm_calls"], run["model"]) == (14, 4, 2, "p/m")
    assert (session["input_tokens"], session["output_tokens"]) == (14, 4)
    assert rows["model_calls", "r1.t1.1"]["agent"] == "worker"


def test_a_step_counts_as_completed_until_it_is_assigned_again() -> None:
    step = PlanStep(id="a", agent="git", queue="git", action="look", task_id="t2")
    again = TaskAssigned(task_id="t2", agent="git", queue="git", attempt=2)
    events: list[tuple[str, Event]] = [
        ("r1", QUESTION),
        ("r1", ASSIGNED),
        ("r1.t1", PlanProposed(call_id="c", summary="-", steps=[step])),
        ("r1", TaskAssigned(task_id="t2", agent="git", queue="git", step="a")),
        ("r1", TaskTimedOut(task_id="t2", message="late")),
    ]

    assert fold(history(*events))["runs", "r1"]["steps_completed"] == 1
    assert fold(history(*events, ("r1", again)))["runs", "r1"]["steps_completed"] == 0
    assert fold(history(*events))["runs", "r1"]["steps"] == 1


def test_the_result_of_an_attempt_that_timed_out_is_ignored() -> None:
    late = history(
        ("r1", QUESTION),
        ("r1", ASSIGNED),
        ("r1.t1", AgentInvokeStarted(agent="worker", attempt=1, instance="i")),
        ("r1", TaskTimedOut(task_id="t1", message="no answer")),
        ("r1.t1", AgentInvokeDone(final_message="late")),
    )

    assert fold(late)["tasks", "r1.t1"]["status"] == "timed_out"


def test_only_the_first_decision_about_an_approval_counts() -> None:
    required = ApprovalRequired(approval_id="a1", call_id="c1", title="run it", content_hash="h")
    rows = fold(
        history(
            ("r1", QUESTION),
            ("r1", ASSIGNED),
            ("r1.t1", required),
            ("r1", ApprovalDecision(approval_id="a1", approved=False, content_hash="h", decided_by="ann")),
            ("r1", ApprovalDecision(approval_id="a1", approved=True, content_hash="h", decided_by="bob")),
        )
    )

    approval = rows["approvals", "r1.a1"]
    assert (approval["status"], approval["decided_by"], approval["agent"]) == ("rejected", "ann", "worker")


def test_output_and_turns_change_no_row() -> None:
    model = ReadModel()
    assert not model.handles(f"{subjects.EVENTS_PREFIX}.output.r1.t1.agent_stream_delta")
    assert not model.handles(subjects.event("session", "s1", "turn_taken"))
    assert model.handles(subjects.event("run", "r1", "user_input"))
