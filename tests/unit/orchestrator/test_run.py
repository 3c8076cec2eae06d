"""Given what happened to a run, what it calls for next; and what never happens."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from syntor.contracts.events import Event
from syntor.contracts.request.v1 import CancelRequested
from syntor.contracts.run.v1 import RunCancelled, RunDone, RunFailed, RunStarted, TaskAssigned, UserInput
from syntor.contracts.session.v1 import TurnTaken
from syntor.contracts.task.v1 import AgentInvokeDone, AgentInvokeFailed
from syntor.contracts.timer.v1 import TimerFired
from syntor.contracts.vocabulary import TERMINAL_RUN_STATUSES
from syntor.orchestrator.domain import run as runs
from syntor.orchestrator.domain.run import DECIDER, INITIAL, Run, deadlines, decide
from syntor.orchestrator.domain.task import MAX_ATTEMPTS

AT = datetime(2026, 11, 21, tzinfo=UTC)
ASKED = UserInput(agent="git", queue="git", content="hello", timeout_s=60.0)
TURN = TurnTaken(run_id="r1")
DONE = AgentInvokeDone(final_message="hi")
LOST = AgentInvokeFailed(code="model_unavailable", message="away", retryable=True)
WRONG = AgentInvokeFailed(code="model_not_installed", message="pull it")
OVERDUE = TimerFired(name="task_deadline", task_id="t1", attempt=1)
CANCEL = CancelRequested(reason="enough", requested_by="me")


def evolve(run: Run, event: Event) -> Run:
    """Apply an event of the test's only instant."""
    return runs.evolve(run, event, AT)


def _fold(run: Run, events: list[Event]) -> Run:
    return DECIDER.fold(run, ((event, AT) for event in events))


def _run(*events: Event) -> Run:
    """Return the run after these messages, each answered as the orchestrator would."""
    run = INITIAL
    for event in events:
        run = evolve(run, event)
        while (decided := decide(run, AT)) is not None:
            run = evolve(run, decided)
    return run


def _next(*events: Event) -> Event | None:
    """Return what the run decides first after the last message."""
    return decide(evolve(_run(*events[:-1]), events[-1]), AT)


def test_a_run_waits_for_its_turn_then_starts_and_assigns_its_task() -> None:
    assert _next(ASKED) is None
    assert _next(ASKED, TURN) == RunStarted(agent="git")
    run = evolve(evolve(evolve(INITIAL, ASKED), TURN), RunStarted(agent="git"))
    deadline_at = AT + timedelta(seconds=60)
    assert decide(run, AT) == TaskAssigned(task_id="t1", agent="git", queue="git", deadline_at=deadline_at)


def test_the_newest_runs_of_the_session_are_its_history() -> None:
    run = evolve(evolve(INITIAL, ASKED), TURN)
    earlier = tuple(f"r{number}" for number in range(60))
    assert decide(run, AT, earlier) == RunStarted(agent="git", history=list(earlier[-50:]))


def test_an_answer_ends_the_run_and_nothing_changes_it_afterwards() -> None:
    assert _next(ASKED, TURN, DONE) == RunDone(final_message="hi", task_id="t1")
    ended = _run(ASKED, TURN, DONE)
    for late in (DONE, LOST, CANCEL, OVERDUE, TURN):
        assert evolve(ended, late) == ended
    assert decide(ended, AT) is None


def test_a_failure_worth_another_try_is_tried_again_at_most_three_times() -> None:
    run = _run(ASKED, TURN)
    for attempt in range(2, MAX_ATTEMPTS + 1):
        run = evolve(run, LOST)
        decided = decide(run, AT)
        assert isinstance(decided, TaskAssigned)
        assert decided.attempt == attempt
        run = evolve(run, decided)
    assert decide(evolve(run, LOST), AT) == RunFailed(code="model_unavailable", message="away", task_id="t1")


def test_a_failure_another_try_cannot_mend_fails_the_run_with_its_reason() -> None:
    assert _next(ASKED, TURN, WRONG) == RunFailed(code="model_not_installed", message="pull it", task_id="t1")


def test_a_cancelled_run_stops_while_it_waits_and_while_it_works() -> None:
    cancelled = RunCancelled(reason="enough", requested_by="me")
    assert _next(ASKED, CANCEL) == cancelled
    assert _next(ASKED, TURN, CANCEL) == cancelled


def test_a_deadline_fails_the_attempt_it_was_set_for_and_no_later_one() -> None:
    failed = _next(ASKED, TURN, OVERDUE)
    assert isinstance(failed, RunFailed)
    assert failed.code == "timeout"
    assert _next(ASKED, TURN, LOST, OVERDUE) is None


def test_a_deadline_is_kept_while_an_attempt_works() -> None:
    assert deadlines(_run(ASKED)) == {}
    assert deadlines(_run(ASKED, TURN)) == {"task-t1": (AT + timedelta(seconds=60), OVERDUE)}
    assert deadlines(_run(ASKED, TURN, DONE)) == {}


MESSAGES = st.lists(st.sampled_from([TURN, DONE, LOST, WRONG, OVERDUE, CANCEL]), max_size=12)


@given(MESSAGES)
def test_whatever_comes_in_whatever_order_a_run_ends_at_most_once(messages: list[Event]) -> None:
    run, endings = evolve(INITIAL, ASKED), 0
    for message in messages:
        run = evolve(run, message)
        while (decided := decide(run, AT)) is not None:
            endings += isinstance(decided, (RunDone, RunFailed, RunCancelled))
            run = evolve(run, decided)
    assert endings <= 1
    assert (run.status in TERMINAL_RUN_STATUSES) == (endings == 1)


@given(MESSAGES)
def test_asking_again_after_every_decision_was_made_adds_nothing(messages: list[Event]) -> None:
    run = _run(ASKED, *messages)
    assert decide(run, AT) is None
    assert decide(run, AT + timedelta(hours=1)) is None


@given(MESSAGES, st.integers(0, 12))
def test_folding_in_two_parts_equals_folding_once(messages: list[Event], cut: int) -> None:
    events: list[Event] = [ASKED, *messages]
    assert _fold(_fold(INITIAL, events[:cut]), events[cut:]) == _fold(INITIAL, events)


def test_states_are_values() -> None:
    assert msgspec.structs.replace(_run(ASKED)) == _run(ASKED)
