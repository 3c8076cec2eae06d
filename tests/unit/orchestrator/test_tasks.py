"""Runs of several tasks: delegation and its guards, plans, pauses; and that a restart at any moment changes nothing."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syntor.contracts.events import Event
from syntor.contracts.request.v1 import ApprovalDecision, ToolResultSubmitted
from syntor.contracts.run.v1 import (
    ApprovalExpired,
    Budget,
    DelegationRefused,
    RunDone,
    RunFailed,
    RunPaused,
    StepSkipped,
    TaskAssigned,
    TaskTimedOut,
    UserInput,
)
from syntor.contracts.session.v1 import TurnTaken
from syntor.contracts.task.v1 import (
    AgentInvokeDone,
    AgentInvokeFailed,
    AgentInvokePaused,
    DelegationRequested,
    PlanProposed,
    PlanStep,
    Wait,
)
from syntor.contracts.timer.v1 import TimerFired
from syntor.orchestrator.domain import guards
from syntor.orchestrator.domain.run import INITIAL, Run, deadlines, decide, evolve

AT = datetime(2026, 11, 21, tzinfo=UTC)
REQUEST = UserInput(agent="coordination", queue="coordination", content="hello", timeout_s=60.0)


class Said(NamedTuple):
    """Something from outside."""

    event: Event
    task: str = ""
    at: datetime = AT


class Story:
    """A run, and what it decided so far."""

    def __init__(self, request: UserInput = REQUEST) -> None:
        self.log: list[Said] = []
        self.decided: list[Event] = []
        self.run: Run = INITIAL
        self.hear(request)
        self.hear(TurnTaken(run_id="r1"))

    def hear(self, event: Event, task: str = "", after_s: float = 0.0) -> list[Event]:
        """Take in a message; return what it calls for."""
        at = AT + timedelta(seconds=after_s)
        self._fold(Said(event, task, at))
        new: list[Event] = []
        while (event_ := decide(self.run, at)) is not None:
            new.append(event_)
            self._fold(Said(event_, "", at))
        self.decided += new
        return new

    def _fold(self, said: Said) -> None:
        self.log.append(said)
        self.run = evolve(self.run, said.event, said.at, said.task)

    def refolded(self) -> Run:
        """Return the state a fresh process has: without timers, which are not in the log."""
        run = INITIAL
        for said in self.log:
            if not isinstance(said.event, TimerFired):
                run = evolve(run, said.event, said.at, said.task)
        return run

    def pause(self, task: str, *waits: Wait, resume: int = 0, after_s: float = 0.0) -> list[Event]:
        """Let an agent put a task down."""
        attempt = self.run.tasks[task].attempt
        return self.hear(AgentInvokePaused(waits=list(waits), attempt=attempt, resume=resume), task, after_s)

    def delegate(
        self, agent: str, instruction: str, number: int, after_s: float = 0.0, parent: str = "t1"
    ) -> list[Event]:
        """Let an agent ask another one."""
        child = f"{parent}-c{number}"
        request = DelegationRequested(
            call_id=f"c{number}", task_id=child, agent=agent, queue=agent, instruction=instruction
        )
        return self.hear(request, parent, after_s)


def assigned(events: list[Event]) -> list[str]:
    """Return the tasks that were assigned."""
    return [event.task_id for event in events if isinstance(event, TaskAssigned)]


def done(text: str = "ok") -> AgentInvokeDone:
    return AgentInvokeDone(final_message=text)


LOST = AgentInvokeFailed(code="model_not_installed", message="pull it")


def test_a_delegated_task_runs_and_its_end_wakes_who_waits() -> None:
    story = Story()
    assert assigned(story.delegate("git", "commit", 1)) == ["t1-c1"]
    assert story.pause("t1", Wait(kind="task", id="t1-c1")) == []
    assert story.run.status == "running"
    (back,) = story.hear(done(), "t1-c1")
    assert isinstance(back, TaskAssigned)
    assert (back.task_id, back.attempt, back.resume, back.settled_tasks) == ("t1", 1, 1, ["t1-c1"])
    assert story.hear(done("all"), "t1") == [RunDone(final_message="all", task_id="t1")]


def test_a_delegation_carries_the_requesting_agent() -> None:
    story = Story()
    (child,) = story.delegate("git", "commit", 1)
    assert isinstance(child, TaskAssigned)
    assert (child.parent_task_id, child.chain, child.instruction) == ("t1", ["coordination"], "commit")
    (grandchild,) = story.delegate("worker", "look", 1, parent="t1-c1")
    assert isinstance(grandchild, TaskAssigned)
    assert grandchild.chain == ["coordination", "git"]


def test_a_failed_child_does_not_fail_the_run_and_is_tried_again_where_that_may_help() -> None:
    story = Story()
    story.delegate("git", "commit", 1)
    story.pause("t1", Wait(kind="task", id="t1-c1"))
    away = AgentInvokeFailed(code="model_unavailable", message="away", retryable=True)
    for attempt in (2, 3):
        (again,) = story.hear(away, "t1-c1")
        assert isinstance(again, TaskAssigned)
        assert (again.task_id, again.attempt) == ("t1-c1", attempt)
    (back,) = story.hear(away, "t1-c1")
    assert isinstance(back, TaskAssigned)
    assert (back.task_id, back.settled_tasks) == ("t1", ["t1-c1"])


def test_a_late_child_is_given_up_and_its_parent_told() -> None:
    story = Story()
    story.delegate("git", "commit", 1)
    story.pause("t1", Wait(kind="task", id="t1-c1"))
    late, back = story.hear(TimerFired(name="task_deadline", task_id="t1-c1", attempt=1), after_s=60)
    assert isinstance(late, TaskTimedOut)
    assert assigned([back]) == ["t1"]
    assert story.refolded().tasks["t1-c1"].is_settled
    assert story.hear(done(), "t1-c1") == []


def test_a_timer_of_an_earlier_attempt_changes_nothing() -> None:
    story = Story()
    story.pause("t1", Wait(kind="approval", id="t1-a"))
    story.hear(ApprovalDecision(approval_id="t1-a", approved=True, content_hash="x"))
    assert story.hear(TimerFired(name="task_deadline", task_id="t1", attempt=1)) == []
    (end,) = story.hear(TimerFired(name="task_deadline", task_id="t1", attempt=1, resume=1))
    assert isinstance(end, RunFailed)
    assert end.code == "timeout"


def test_a_handoff_makes_the_other_agents_answer_the_runs() -> None:
    story = Story()
    request = DelegationRequested(
        call_id="c1", task_id="t1-c1", agent="git", queue="git", instruction="x", handoff=True
    )
    (taken,) = story.hear(request, "t1")
    assert isinstance(taken, TaskAssigned)
    assert taken.handoff_from == "t1"
    assert story.pause("t1", Wait(kind="task", id="t1-c1")) == []
    assert story.hear(done("from git"), "t1-c1") == [RunDone(final_message="from git", task_id="t1-c1")]


# guards


def refused(events: list[Event]) -> list[str]:
    """Return the guards that refused."""
    return [event.guard for event in events if isinstance(event, DelegationRefused)]


def test_nobody_is_asked_who_is_at_work_already() -> None:
    story = Story()
    assert refused(story.delegate("coordination", "x", 1)) == ["ancestry"]
    story.delegate("git", "x", 2)
    assert refused(story.delegate("coordination", "y", 1, parent="t1-c2")) == ["ancestry"]
    assert refused(story.delegate("git", "y", 2, parent="t1-c2")) == ["ancestry"]


def test_delegation_goes_five_deep() -> None:
    story, parent = Story(), "t1"
    for depth in range(guards.MAX_DEPTH):
        assert assigned(story.delegate(f"agent{depth}", "x", 1, parent=parent)) == [f"{parent}-c1"]
        parent += "-c1"
    assert refused(story.delegate("another", "x", 1, parent=parent)) == ["depth"]


def test_the_same_thing_is_asked_once_a_minute() -> None:
    story = Story()
    story.delegate("git", "Commit  it", 1)
    assert refused(story.delegate("git", "commit it", 2, 59.0)) == ["duplicate"]
    assert assigned(story.delegate("worker", "commit it", 3, 59.0)) == ["t1-c3"]
    assert assigned(story.delegate("git", "commit it", 4, 61.0)) == ["t1-c4"]


def test_a_pair_may_ask_three_times_at_once_and_ten_times_a_minute() -> None:
    story = Story()
    for number in range(3):
        assert assigned(story.delegate("git", f"x{number}", number)) == [f"t1-c{number}"]
    assert refused(story.delegate("git", "x3", 3)) == ["rate"]
    assert assigned(story.delegate("git", "x4", 4, 6.1)) == ["t1-c4"]
    assert refused(story.delegate("git", "x5", 5, 6.2)) == ["rate"]


def test_a_pair_that_fails_three_times_rests_and_twice_as_long_the_next_time() -> None:
    story, at, number = Story(), 0.0, 0

    def fail_three_times() -> None:
        nonlocal number, at
        for _ in range(guards.FAILURE_THRESHOLD):
            number, at = number + 1, at + 30.0
            assert assigned(story.delegate("git", f"x{number}", number, at)) == [f"t1-c{number}"]
            story.hear(LOST, f"t1-c{number}", at)

    for rest_s in (300.0, 600.0, 1200.0, 2400.0, 3600.0, 3600.0):
        fail_three_times()
        assert refused(story.delegate("git", "again", number + 1000, at + rest_s - 1)) == ["circuit"]
        at += rest_s


def test_the_first_guard_that_refuses_is_named() -> None:
    story = Story()
    for number in range(3):
        story.delegate("git", "x" if not number else f"x{number}", number)
    assert refused(story.delegate("git", "x", 9)) == ["duplicate"]  # the rate is used up as well


@given(
    st.lists(
        st.tuples(st.sampled_from(["git", "worker"]), st.integers(0, 3), st.floats(0, 200), st.booleans()), max_size=25
    )
)
@settings(max_examples=60)
def test_guards_refuse_the_same_right_after_a_restart(asks: list[tuple[str, int, float, bool]]) -> None:
    story, at = Story(), 0.0
    for number, (agent, what, later_s, fails) in enumerate(asks):
        at += later_s
        story.run = story.refolded()
        story.delegate(agent, f"x{what}", number, at)
        if fails:
            story.hear(LOST, f"t1-c{number}", at)
    assert story.refolded() == story.run


# plans

DIAMONDS = {  # four diamonds in a row
    "a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"], "e": ["d"], "f": ["d"], "g": ["e", "f"],
    "h": ["g"], "i": ["g"], "j": ["h", "i"], "k": ["j"], "l": ["j"],
}  # fmt: skip


def plan(steps: dict[str, list[str]]) -> PlanProposed:
    return PlanProposed(
        call_id="c1",
        summary="build",
        steps=[
            PlanStep(id=name, agent=f"agent_{name}", queue="q", action=name, depends_on=needs, task_id=f"t1-c1-{name}")
            for name, needs in steps.items()
        ],
    )


def waits(steps: dict[str, list[str]]) -> list[Wait]:
    return [Wait(kind="task", id=f"t1-c1-{name}") for name in steps]


@pytest.mark.parametrize("seed", range(5))
def test_a_plan_runs_as_parallel_as_it_can_whoever_decides(seed: int) -> None:
    chance, story = random.Random(seed), Story()
    running = set(assigned(story.hear(plan(DIAMONDS), "t1")))
    assert running == {"t1-c1-a"}
    story.pause("t1", *waits(DIAMONDS))
    finished: set[str] = set()
    new: list[Event] = []
    while running:
        story.run = story.refolded()  # another process decides each time
        name = chance.choice(sorted(running))
        finished.add(name.removeprefix("t1-c1-"))
        running.remove(name)
        new = story.hear(done(name), name)
        running |= {task for task in assigned(new) if task != "t1"}
        ready = {
            f"t1-c1-{step}" for step, needs in DIAMONDS.items() if finished.issuperset(needs) and step not in finished
        }
        assert running == ready
    (back,) = (event for event in new if isinstance(event, TaskAssigned))
    assert (back.task_id, len(back.settled_tasks)) == ("t1", 12)


def test_steps_get_the_results_of_those_they_depend_on() -> None:
    story = Story()
    story.hear(plan(DIAMONDS), "t1")
    story.hear(done(), "t1-c1-a")
    story.hear(done(), "t1-c1-b")
    (both,) = story.hear(done(), "t1-c1-c")
    assert isinstance(both, TaskAssigned)
    assert (both.step, both.inputs) == ("d", ["t1-c1-b", "t1-c1-c"])


def test_a_failed_step_skips_all_that_depend_on_it_and_no_others() -> None:
    story, steps = Story(), {"a": [], "b": ["a"], "c": ["b"], "x": []}
    assert assigned(story.hear(plan(steps), "t1")) == ["t1-c1-a", "t1-c1-x"]
    story.pause("t1", *waits(steps))
    new = story.hear(LOST, "t1-c1-a")
    assert [event.step for event in new if isinstance(event, StepSkipped)] == ["b", "c"]
    assert assigned(story.hear(done(), "t1-c1-x")) == ["t1"]


@pytest.mark.parametrize("steps", [{"a": ["b"], "b": ["a"]}, {"a": ["nowhere"]}, {"a": ["a"]}])
def test_a_plan_that_does_not_hold_together_is_refused(steps: dict[str, list[str]]) -> None:
    story = Story()
    new = story.hear(plan(steps), "t1")
    assert "plan" in refused(new)
    assert assigned(new) == []
    story.pause("t1", *waits(steps))
    assert story.run.tasks["t1"].resume == 1


# pauses


@given(st.permutations(list(range(50))), st.lists(st.booleans(), min_size=50, max_size=50))
@settings(max_examples=20, deadline=None)
def test_fifty_approvals_in_any_order_each_wake_the_task_once(order: list[int], restarts: list[bool]) -> None:
    story = Story()
    left = [Wait(kind="approval", id=f"t1-c{number}") for number in range(50)]
    (paused,) = story.pause("t1", *left)
    assert isinstance(paused, RunPaused)
    assert (paused.reason, len(paused.waiting_for)) == ("approval", 50)
    for number, (which, restart) in enumerate(zip(order, restarts, strict=True)):
        if restart:
            story.run = story.refolded()
        answer = ApprovalDecision(approval_id=f"t1-c{which}", approved=True, content_hash="x")
        assert assigned(story.hear(answer)) == ["t1"]
        assert story.hear(answer) == []
        left = [wait for wait in left if wait.id != f"t1-c{which}"]
        if left:
            assert [type(event) for event in story.pause("t1", *left, resume=number + 1)] == [RunPaused]
    assert story.run.status == "running"


def test_a_decision_that_comes_while_the_agent_works_is_not_lost() -> None:
    story = Story()
    story.pause("t1", Wait(kind="approval", id="t1-a"), Wait(kind="approval", id="t1-b"))
    assert assigned(story.hear(ApprovalDecision(approval_id="t1-a", approved=True, content_hash="x"))) == ["t1"]
    assert story.hear(ApprovalDecision(approval_id="t1-b", approved=True, content_hash="x")) == []
    assert assigned(story.pause("t1", Wait(kind="approval", id="t1-b"), resume=1)) == ["t1"]


def test_nobody_decides_in_time() -> None:
    story, until = Story(), AT + timedelta(seconds=10)
    story.pause("t1", Wait(kind="approval", id="t1-a", expires_at=until))
    due = TimerFired(name="wait_expired", task_id="t1", wait_id="t1-a")
    assert deadlines(story.run) == {"wait-t1-a": (until, due)}
    expired, back = story.hear(due, after_s=10)
    assert expired == ApprovalExpired(approval_id="t1-a")
    assert assigned([back]) == ["t1"]
    assert story.hear(ApprovalDecision(approval_id="t1-a", approved=True, content_hash="x")) == []


def test_a_clients_tool_pauses_the_run_until_its_result_is_there() -> None:
    story = Story()
    assert story.pause("t1", Wait(kind="tool", id="t1-c1")) == [RunPaused(reason="tool", waiting_for=["t1-c1"])]
    assert story.run.status == "paused_waiting_tool"
    assert assigned(story.hear(ToolResultSubmitted(task_id="t1", call_id="c1", content="x"))) == ["t1"]


def test_a_run_with_work_under_way_is_not_paused() -> None:
    story = Story()
    story.delegate("git", "x", 1)
    assert story.pause("t1", Wait(kind="approval", id="t1-a"), Wait(kind="task", id="t1-c1")) == []
    assert [type(event) for event in story.hear(done(), "t1-c1")] == [RunPaused]


def test_a_run_has_an_end_of_its_time() -> None:
    story = Story(UserInput(agent="git", queue="git", content="x", budget=Budget(max_wall_time_s=5.0)))
    assert deadlines(story.run)["run"] == (AT + timedelta(seconds=5), TimerFired(name="run_deadline"))
    (end,) = story.hear(TimerFired(name="run_deadline"), after_s=5)
    assert isinstance(end, RunFailed)
    assert end.code == "limit_reached"
    assert "max_wall_time_s" in end.message
