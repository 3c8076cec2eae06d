"""How a task a paused task waits for has ended, and what the model is told of it."""

from __future__ import annotations

from syntor.contracts.run.v1 import DelegationRefused, StepSkipped
from syntor.contracts.task.v1 import AgentInvokeDone, AgentInvokeFailed

TaskEnd = AgentInvokeDone | AgentInvokeFailed | DelegationRefused | StepSkipped
TIMED_OUT = AgentInvokeFailed(code="timeout", message="no result in time")
"""End of a task that is settled without an event of its own."""


def outcome_text(end: TaskEnd) -> tuple[str, bool]:
    """Return what the model is told of a settled task, and whether the task failed."""
    match end:
        case AgentInvokeDone(final_message=text):
            return text or "(no text)", False
        case AgentInvokeFailed(code=code, message=message, partial_message=partial):
            return f"failed ({code}): {message}" + (f"\nPartial answer: {partial}" if partial else ""), True
        case DelegationRefused(guard=guard, message=message):
            return f"refused ({guard}): {message}", True
        case StepSkipped(message=message):
            return f"skipped: {message}", True
