"""Reads from the log what arrived for a paused task."""

from __future__ import annotations

from syntor.agentkit.domain.external_results import ExternalResults
from syntor.agentkit.domain.task_end import TIMED_OUT, TaskEnd
from syntor.agentkit.execution.task_log import TaskLog
from syntor.contracts import subjects
from syntor.eventsourcing.store import EventStore

_FILTERS_PER_READ = 300  # each names one subject, or two; the server replies with at most 1,024


async def read_external_results(store: EventStore, log: TaskLog) -> ExternalResults:
    """Read everything that arrived for calls of a task that have no result yet.

    Raises:
        InfrastructureError: the log could not be read.
    """
    state, run_id, task_id = log.state, log.run_id, log.assigned.task_id
    filters: list[str] = []
    for call, required in state.approvals.items():
        if call not in state.applied:
            filters.append(subjects.event("request", run_id, "approval_decision", required.approval_id))
            filters.append(subjects.event("run", run_id, "approval_expired", required.approval_id))
    for call in state.requested:
        if call not in state.results:
            filters.append(subjects.event("request", run_id, "tool_result_submitted", f"{task_id}-{call}"))
    for call, asked in state.questions.items():
        if call not in state.results:
            filters += [subjects.event("request", run_id, "question_answered", each.question_id) for each in asked]
    for settled in log.assigned.settled_tasks:
        filters += _end_filters(run_id, settled)
    results = ExternalResults(task_ends=dict.fromkeys(log.assigned.settled_tasks, TIMED_OUT))
    await _read(store, filters, results)
    return results


async def read_task_ends(store: EventStore, run_id: str, task_ids: list[str]) -> dict[str, TaskEnd]:
    """Return the ends of settled tasks; `TIMED_OUT` for one without an event of its own."""
    results = ExternalResults(task_ends=dict.fromkeys(task_ids, TIMED_OUT))
    await _read(store, [filter_ for task_id in task_ids for filter_ in _end_filters(run_id, task_id)], results)
    return results.task_ends


def _end_filters(run_id: str, task_id: str) -> list[str]:
    """Return the subjects of all events that can end a task."""
    task = subjects.task_id(run_id, task_id)
    return [
        subjects.event("task", task, "agent_invoke_failed"),
        subjects.event("task", task, "agent_invoke_done"),
        subjects.event("run", run_id, "delegation_refused", task_id),
        subjects.event("run", run_id, "step_skipped", task_id),
    ]


async def _read(store: EventStore, filters: list[str], results: ExternalResults) -> None:
    for start in range(0, len(filters), _FILTERS_PER_READ):
        for recorded in await store.last_of_each(filters[start : start + _FILTERS_PER_READ]):
            results.add(recorded.subject, recorded.event)
