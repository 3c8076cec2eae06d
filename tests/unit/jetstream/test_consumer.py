"""The key within which messages are handled in order."""

from __future__ import annotations

from syntor.contracts import subjects
from syntor.jetstream.consumer import lane_of


def test_messages_of_one_run_share_a_lane() -> None:
    of_one_run = [
        subjects.event("run", "r1", "user_input"),
        subjects.event("run", "r1", "task_assigned", "worker"),
        subjects.event("task", "r1.t1", "agent_invoke_done"),
        subjects.event("request", "r1", "cancel_requested"),
        subjects.timer_fired("r1", "task-t1"),
    ]

    assert {lane_of(subject) for subject in of_one_run} == {"r1"}


def test_messages_of_other_aggregates_have_their_own_lanes() -> None:
    assert lane_of(subjects.event("run", "r2", "user_input")) == "r2"
    assert lane_of(subjects.event("session", "s1", "turn_taken")) == "s1"
