"""What outside said to what a task asked: decisions on approvals, results of clients' tools, ends of other tasks."""

from __future__ import annotations

import msgspec

from syntor.agentkit.task_log import TaskLog
from syntor.contracts import subjects
from syntor.contracts.request.v1 import ApprovalDecision
from syntor.contracts.request.v1 import ToolResult as SubmittedResult
from syntor.contracts.run.v1 import ApprovalExpired, DelegationRefused, StepSkipped
from syntor.contracts.task.v1 import AgentInvokeDone, AgentInvokeFailed
from syntor.eventsourcing.store import EventStore

_FILTERS_AT_ONCE = 300  # each names one subject, or two; the server answers at most 1,024

TaskEnd = AgentInvokeDone | AgentInvokeFailed | DelegationRefused | StepSkipped
NO_ANSWER = AgentInvokeFailed(code="timeout", message="it gave no answer in time")


class Answers(msgspec.Struct):
    """Answers by what they are to."""

    decisions: dict[str, ApprovalDecision] = {}
    """By approval."""
    expired: set[str] = set()
    """Approvals nobody decided on in time."""
    submitted: dict[str, SubmittedResult] = {}
    """By `<task_id>-<call_id>`."""
    ends: dict[str, TaskEnd] = {}
    """By task: only of those that are over for good."""


async def read_answers(store: EventStore, log: TaskLog) -> Answers:
    """Read what there is to everything the task asked for and has not taken in.

    Raises:
        InfrastructureError: the log could not be read.
    """
    answers = Answers()
    state, run_id, task_id = log.state, log.run_id, log.assigned.task_id
    filters: list[str] = []
    for call, asked in state.approvals.items():
        if call not in state.applied:
            filters.append(subjects.event("request", run_id, "approval_decision", asked.approval_id))
            filters.append(subjects.event("run", run_id, "approval_expired", asked.approval_id))
    for call in state.requested:
        if call not in state.results:
            filters.append(subjects.event("request", run_id, "tool_result", f"{task_id}-{call}"))
    for over in log.assigned.over:
        answers.ends[over] = NO_ANSWER
        filters += end_filters(run_id, over)
    for start in range(0, len(filters), _FILTERS_AT_ONCE):
        for recorded in await store.last_of_each(filters[start : start + _FILTERS_AT_ONCE]):
            _take(answers, recorded.subject, recorded.event)
    return answers


async def read_ends(store: EventStore, run_id: str, task_ids: list[str]) -> dict[str, TaskEnd]:
    """Return how tasks ended that are over; `NO_ANSWER` for one that says nothing itself."""
    answers = Answers(ends=dict.fromkeys(task_ids, NO_ANSWER))
    filters = [filter_ for task_id in task_ids for filter_ in end_filters(run_id, task_id)]
    for start in range(0, len(filters), _FILTERS_AT_ONCE):
        for recorded in await store.last_of_each(filters[start : start + _FILTERS_AT_ONCE]):
            _take(answers, recorded.subject, recorded.event)
    return answers.ends


def end_filters(run_id: str, task_id: str) -> list[str]:
    """Return the filters of all that can say how a task ended."""
    task = subjects.task_id(run_id, task_id)
    return [
        subjects.event("task", task, "agent_invoke_failed"),
        subjects.event("task", task, "agent_invoke_done"),
        subjects.event("run", run_id, "delegation_refused", task_id),
        subjects.event("run", run_id, "step_skipped", task_id),
    ]


def _take(answers: Answers, subject: str, event: msgspec.Struct) -> None:
    """Take in one event; events come oldest first, so that the newest end of a task counts."""
    match event:
        case ApprovalDecision(approval_id=approval_id):
            answers.decisions[approval_id] = event
        case ApprovalExpired(approval_id=approval_id):
            answers.expired.add(approval_id)
        case SubmittedResult(task_id=task_id, call_id=call_id):
            answers.submitted[f"{task_id}-{call_id}"] = event
        case DelegationRefused(task_id=task_id) | StepSkipped(task_id=task_id):
            answers.ends[task_id] = event
        case AgentInvokeDone() | AgentInvokeFailed():
            answers.ends[subjects.parse_event(subject).aggregate_id.partition(".")[2]] = event
        case _:
            return
