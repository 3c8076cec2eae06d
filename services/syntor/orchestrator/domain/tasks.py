"""What a task of a run is: pure."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from syntor.contracts.task.v1 import AgentInvokeDone, AgentInvokeFailed, DelegationRequested, PlanProposed, Wait

ROOT_TASK = "t1"
MAX_ATTEMPTS = 3  # of one task, for failures the agent calls worth another try


class Stage(StrEnum):
    """Where a task is."""

    PROPOSED = "proposed"
    ASSIGNED = "assigned"
    PAUSED = "paused"
    REFUSED = "refused"
    SKIPPED = "skipped"
    TIMED_OUT = "timed_out"
    HANDED_OVER = "handed_over"


class Task(msgspec.Struct, frozen=True):
    """State of one task. An end is kept beside the stage it came in."""

    id: str
    agent: str
    queue: str
    stage: Stage = Stage.PROPOSED
    instruction: str = ""
    parent: str = ""
    step: str = ""
    """Step of the plan it is; empty: it was delegated, or is the run's own."""
    depends_on: tuple[str, ...] = ()
    """Tasks whose results it builds on."""
    chain: tuple[str, ...] = ()
    """Agents above it, the run's own first."""
    handoff: bool = False
    """It was asked for as a handoff."""
    attempt: int = 0
    resume: int = 0
    ended: AgentInvokeDone | AgentInvokeFailed | None = None
    """How the current attempt ended, if it did."""
    waits: tuple[Wait, ...] = ()
    deadline_at: datetime | None = None
    """When the current attempt must have ended or been put down."""
    overdue: bool = False

    @property
    def is_active(self) -> bool:
        """Whether an instance works on it, or is about to."""
        return self.stage is Stage.ASSIGNED and self.ended is None

    @property
    def is_done(self) -> bool:
        """Whether it has its answer."""
        return isinstance(self.ended, AgentInvokeDone)

    @property
    def may_be_repeated(self) -> bool:
        """Whether it failed in a way that is worth another attempt."""
        return isinstance(self.ended, AgentInvokeFailed) and self.ended.retryable and self.attempt < MAX_ATTEMPTS

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes of it."""
        if self.stage in (Stage.REFUSED, Stage.SKIPPED, Stage.TIMED_OUT):
            return True
        return self.ended is not None and not self.may_be_repeated


def of_delegation(asked: DelegationRequested, parent: Task) -> Task:
    """Return the task somebody asks for."""
    return Task(
        id=asked.task_id,
        agent=asked.agent,
        queue=asked.queue,
        instruction=asked.instruction,
        parent=parent.id,
        chain=(*parent.chain, parent.agent),
        handoff=asked.handoff,
    )


def of_plan(plan: PlanProposed, parent: Task) -> list[Task]:
    """Return the tasks of a plan's steps, in order."""
    ids = {step.id: step.task_id for step in plan.steps}
    return [
        Task(
            id=step.task_id,
            agent=step.agent,
            queue=step.queue,
            instruction=step.action,
            parent=parent.id,
            step=step.id,
            depends_on=tuple(ids.get(other, f"?{other}") for other in step.depends_on),
            chain=(*parent.chain, parent.agent),
        )
        for step in plan.steps
    ]
