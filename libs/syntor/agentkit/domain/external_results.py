"""What arrived for a paused task: decisions on approvals, submitted tool results and ends of other tasks."""

from __future__ import annotations

import msgspec

from syntor.agentkit.domain.task_end import TaskEnd
from syntor.contracts import subjects
from syntor.contracts.request.v1 import ApprovalDecision, QuestionAnswered, ToolResultSubmitted
from syntor.contracts.run.v1 import ApprovalExpired, DelegationRefused, StepSkipped
from syntor.contracts.task.v1 import AgentInvokeDone, AgentInvokeFailed


class ExternalResults(msgspec.Struct):
    """Results by what they belong to."""

    decisions: dict[str, ApprovalDecision] = {}
    """By approval."""
    expired: set[str] = set()
    """Approvals that expired without a decision."""
    submitted: dict[str, ToolResultSubmitted] = {}
    """By `<task_id>-<call_id>`."""
    answered: dict[str, QuestionAnswered] = {}
    """Responses, by question."""
    task_ends: dict[str, TaskEnd] = {}
    """By task; settled tasks only."""

    def add(self, subject: str, event: msgspec.Struct) -> None:
        """Add one event; events come oldest first, so that the newest end of a task counts."""
        match event:
            case ApprovalDecision(approval_id=approval_id):
                self.decisions[approval_id] = event
            case ApprovalExpired(approval_id=approval_id):
                self.expired.add(approval_id)
            case ToolResultSubmitted(task_id=task_id, call_id=call_id):
                self.submitted[f"{task_id}-{call_id}"] = event
            case QuestionAnswered(question_id=question_id):
                self.answered[question_id] = event
            case DelegationRefused(task_id=task_id) | StepSkipped(task_id=task_id):
                self.task_ends[task_id] = event
            case AgentInvokeDone() | AgentInvokeFailed():
                self.task_ends[subjects.parse_event(subject).aggregate_id.partition(".")[2]] = event
            case _:
                return
