"""What finished in a task is never done again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from syntor.agentkit.domain.task import INITIAL, TASK, Task, already_handled, next_call, total_usage
from syntor.contracts.events import Event
from syntor.contracts.run.v1 import TaskAssigned
from syntor.contracts.task.v1 import (
    AgentInvokeDone,
    AgentInvokeFailed,
    AgentInvokePaused,
    AgentInvokeStarted,
    LlmCallDone,
    LlmCallFailed,
    LlmCallStarted,
    ToolCallCreated,
    ToolDispatched,
    ToolResult,
    Usage,
)

AT = datetime(2026, 11, 21, tzinfo=UTC)
STARTED = AgentInvokeStarted(agent="git", instance="i1")


def _fold(*events: Event, task: Task = INITIAL) -> Task:
    return TASK.fold(task, [(event, AT) for event in events])


def _call(number: int) -> LlmCallStarted:
    return LlmCallStarted(call=number, provider="scripted", model="echo")


def test_an_interrupted_call_is_open_and_the_next_one_gets_a_new_number() -> None:
    task = _fold(STARTED, _call(1))
    assert task.open_call == 1
    task = _fold(LlmCallFailed(call=1, code="interrupted", message="gone"), task=task)
    assert (task.open_call, next_call(task, 0)) == (0, 2)


def test_a_completed_call_is_found_by_its_number() -> None:
    answer = LlmCallDone(call=1, text="hi", usage=Usage(input_tokens=3, output_tokens=2, cost_microusd=7))
    task = _fold(STARTED, _call(1), answer)
    assert task.done[next_call(task, 0)] == answer
    assert total_usage(task) == answer.usage


def test_a_tool_that_ended_has_its_result_and_one_that_may_have_run_is_known() -> None:
    result = ToolResult(call_id="c1_1", content="x")
    events: list[Event] = [ToolCallCreated(call_id="c1_1", name="glob"), ToolDispatched(call_id="c1_1"), result]
    task = _fold(STARTED, *events)
    assert task.results == {"c1_1": result}
    assert _fold(STARTED, *events[:2]).dispatched == {"c1_1"}


def test_a_new_attempt_reopens_the_task_and_keeps_the_completions() -> None:
    failed = AgentInvokeFailed(code="x", message="y")
    task = _fold(STARTED, _call(1), LlmCallDone(call=1, text="hi"), failed)
    assert task.ended
    again = _fold(AgentInvokeStarted(agent="git", instance="i2", attempt=2), task=task)
    assert (again.ended, again.attempt, list(again.done)) == (False, 2, [1])


def test_an_assignment_is_handled_once_it_ended_paused_or_was_superseded() -> None:
    first, second = (TaskAssigned(task_id="t1", agent="git", queue="git", attempt=number) for number in (1, 2))
    resumed = TaskAssigned(task_id="t1", agent="git", queue="git", attempt=1, resume=1)
    started = _fold(STARTED)
    paused = _fold(AgentInvokePaused(waits=[], attempt=1, resume=0), task=started)
    ended = _fold(AgentInvokeDone(final_message=""), task=started)
    assert not already_handled(started, first)
    assert already_handled(paused, first)
    assert not already_handled(paused, resumed)
    assert already_handled(ended, first)
    assert not already_handled(ended, second)
    assert already_handled(_fold(AgentInvokeStarted(agent="git", instance="i2", attempt=2), task=started), first)


SAMPLES: list[Event] = [
    STARTED,
    _call(1),
    LlmCallDone(call=1, text="a"),
    _call(2),
    LlmCallFailed(call=2, code="c", message="m"),
    ToolCallCreated(call_id="t", name="n"),
    ToolResult(call_id="t", content="r"),
    AgentInvokeDone(final_message=""),
]
EVENTS = st.lists(st.sampled_from(SAMPLES), max_size=15)


@given(EVENTS, st.integers(0, 15))
def test_folding_in_two_parts_equals_folding_once(events: Sequence[Event], cut: int) -> None:
    assert _fold(*events[cut:], task=_fold(*events[:cut])) == _fold(*events)
