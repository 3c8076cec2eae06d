"""Pure task aggregate: state and evolve. What finished is never done again.

Model calls are numbered from 1. A call that was started and neither done nor failed was interrupted: its process died.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from syntor.contracts.bounds import MAX_COST_MICROUSD, MAX_TOKENS
from syntor.contracts.events import Event
from syntor.contracts.run.v1 import TaskAssigned
from syntor.contracts.task.v1 import (
    AgentInvokeDone,
    AgentInvokeFailed,
    AgentInvokePaused,
    AgentInvokeStarted,
    ApprovalApplied,
    ApprovalRequired,
    DelegationRequested,
    HistoryCompacted,
    LlmCallDone,
    LlmCallFailed,
    LlmCallStarted,
    PlanProposed,
    PolicyDecision,
    QuestionAsked,
    ToolCallCreated,
    ToolDispatched,
    ToolRequest,
    ToolResult,
    Usage,
    WorkspaceCheckpointed,
)
from syntor.contracts.vocabulary import FinishReason
from syntor.eventsourcing.decider import Decider


class Task(msgspec.Struct, frozen=True):
    """State of one task."""

    attempt: int = 0
    """Newest attempt that started."""
    resume: int = 0
    """Resume number of its newest start."""
    instance: str = ""
    """Process of its newest start."""
    paused: int = -1
    """Newest resume number of this attempt that paused; -1: none."""
    ended: bool = False
    """Whether that attempt ended."""
    done: Mapping[int, LlmCallDone] = {}
    """Completions of models, by number of the call."""
    failed: frozenset[int] = frozenset()
    """Numbers of calls that failed or were interrupted."""
    purposes: Mapping[int, str] = {}
    """What calls that do not work on the task itself are for, by number."""
    compacted: HistoryCompacted | None = None
    """Newest compaction of the session's earlier turns."""
    open_call: int = 0
    """Number of the call in flight; 0: none."""
    created: frozenset[str] = frozenset()
    """Tool calls accepted."""
    decisions: Mapping[str, PolicyDecision] = {}
    dispatched: frozenset[str] = frozenset()
    """Tool calls that may have run."""
    results: Mapping[str, ToolResult] = {}
    """Results of tools, by call."""
    approvals: Mapping[str, ApprovalRequired] = {}
    """Approvals required, by call."""
    applied: Mapping[str, ApprovalApplied] = {}
    """Decisions that took effect, by call."""
    requested: Mapping[str, ToolRequest] = {}
    """Requests to the client, by call."""
    questions: Mapping[str, tuple[QuestionAsked, ...]] = {}
    """Questions to people, by call, oldest first."""
    delegated: Mapping[str, DelegationRequested] = {}
    """Delegations and handoffs, by call."""
    plans: Mapping[str, PlanProposed] = {}
    """Plans, by call."""

    checkpoints: tuple[WorkspaceCheckpointed, ...] = ()
    """States kept of the workspace, in order; those that could not be kept too."""

    @property
    def waits(self) -> bool:
        """Whether a call still waits for a decision or a result from outside."""
        waiting = (*self.requested, *self.questions, *self.delegated, *self.plans)
        return any(call not in self.results for call in waiting) or any(c not in self.applied for c in self.approvals)


INITIAL = Task()


def evolve(task: Task, event: Event, at: datetime) -> Task:
    """Apply one event."""
    replace = msgspec.structs.replace
    match event:
        case AgentInvokeStarted(attempt=attempt, resume=resume, instance=instance):
            paused = task.paused if attempt == task.attempt else -1
            return replace(task, attempt=attempt, resume=resume, instance=instance, ended=False, paused=paused)
        case LlmCallStarted(call=call, purpose=purpose):
            purposes = {**task.purposes, call: purpose} if purpose else task.purposes
            return replace(task, open_call=call, purposes=purposes)
        case HistoryCompacted():
            return replace(task, compacted=event)
        case LlmCallDone(call=call):
            return replace(task, done={**task.done, call: event}, open_call=0)
        case LlmCallFailed(call=call):
            return replace(task, failed=task.failed | {call}, open_call=0)
        case ToolCallCreated(call_id=call_id):
            return replace(task, created=task.created | {call_id})
        case PolicyDecision(call_id=call_id):
            return replace(task, decisions={**task.decisions, call_id: event})
        case ApprovalRequired(call_id=call_id):
            applied = {
                call: each for call, each in task.applied.items() if call != call_id
            }  # a renewed request is open
            return replace(task, approvals={**task.approvals, call_id: event}, applied=applied)
        case ApprovalApplied(call_id=call_id):
            return replace(task, applied={**task.applied, call_id: event})
        case ToolRequest(call_id=call_id):
            return replace(task, requested={**task.requested, call_id: event})
        case QuestionAsked(call_id=call_id):
            asked = (*task.questions.get(call_id, ()), event)
            questions = {**task.questions, call_id: asked}
            return replace(task, questions=questions, dispatched=task.dispatched - {call_id})
        case DelegationRequested(call_id=call_id):
            return replace(task, delegated={**task.delegated, call_id: event})
        case PlanProposed(call_id=call_id):
            return replace(task, plans={**task.plans, call_id: event})
        case AgentInvokePaused(resume=resume):
            return replace(task, paused=resume)
        case ToolDispatched(call_id=call_id):
            return replace(task, dispatched=task.dispatched | {call_id})
        case ToolResult(call_id=call_id):
            return replace(task, results={**task.results, call_id: event})
        case WorkspaceCheckpointed():
            return replace(task, checkpoints=(*task.checkpoints, event))
        case AgentInvokeDone() | AgentInvokeFailed():
            return replace(task, ended=True, open_call=0)
        case _:
            return task


TASK = Decider(category="task", initial=INITIAL, evolve=evolve)


def already_handled(task: Task, assigned: TaskAssigned) -> bool:
    """Return whether the task ended or paused in this assignment, or a later one has started."""
    if task.ended and task.attempt >= assigned.attempt:
        return True
    return task.attempt > assigned.attempt or (task.attempt == assigned.attempt and task.paused >= assigned.resume)


def holder(task: Task, assigned: TaskAssigned) -> str:
    """Return the process that began an assignment that is not handled yet; empty: none did."""
    began = not task.ended and (task.attempt, task.resume) == (assigned.attempt, assigned.resume)
    return task.instance if began else ""


def next_call(task: Task, after: int, purpose: str = "") -> int:
    """Return the number of the next call of a purpose after `after` that did not fail: a completed or a new one."""
    call = after + 1
    known = {*task.done, *task.failed, task.open_call}
    while call in task.failed or (call in known and task.purposes.get(call, "") != purpose):
        call += 1
    return call


def total_usage(task: Task) -> Usage:
    """Return the sum over all completed calls."""
    completions = task.done.values()
    return Usage(
        input_tokens=min(MAX_TOKENS, sum(each.usage.input_tokens for each in completions)),
        output_tokens=min(MAX_TOKENS, sum(each.usage.output_tokens for each in completions)),
        cached_input_tokens=min(MAX_TOKENS, sum(each.usage.cached_input_tokens for each in completions)),
        cost_microusd=min(MAX_COST_MICROUSD, sum(each.usage.cost_microusd for each in completions)),
    )


def finish_reason(task: Task, answer: str) -> FinishReason:
    """Return why an answer ends: `length` and `content_filter` where it is a completion that was cut."""
    own = [call for call in task.done if call not in task.purposes]
    newest = task.done[max(own)] if own else None
    cut = newest is not None and newest.finish_reason in ("length", "content_filter") and newest.text == answer
    return newest.finish_reason if newest is not None and cut else "stop"
