"""Pure task entity of the run aggregate."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from syntor.contracts.run.v1 import TaskAssigned
from syntor.contracts.task.v1 import (
    AgentInvokeDone,
    AgentInvokeFailed,
    AgentInvokePaused,
    DelegationRequested,
    PlanProposed,
    Wait,
)

ROOT_TASK = "t1"
MAX_ATTEMPTS = 3  # of one task, for failures the agent marks as retryable


class Stage(StrEnum):
    """Stage of a task."""

    PROPOSED = "proposed"
    ASSIGNED = "assigned"
    PAUSED = "paused"
    REFUSED = "refused"
    SKIPPED = "skipped"
    TIMED_OUT = "timed_out"
    HANDED_OVER = "handed_over"


class Task(msgspec.Struct, frozen=True):
    """State of one task. How its attempt ended is kept beside its stage."""

    id: str
    agent: str
    queue: str
    stage: Stage = Stage.PROPOSED
    instruction: str = ""
    parent: str = ""
    step: str = ""
    """Plan step it carries out; empty: it was delegated, or is the run's root task."""
    depends_on: tuple[str, ...] = ()
    """Tasks whose results it builds on."""
    chain: tuple[str, ...] = ()
    """Agents of its ancestors, the root task's first."""
    handoff: bool = False
    """Whether it was requested as a handoff."""
    attempt: int = 0
    resume: int = 0
    ended: AgentInvokeDone | AgentInvokeFailed | None = None
    """How the current attempt ended; None: it has not."""
    waits: tuple[Wait, ...] = ()
    deadline_at: datetime | None = None
    """When the current attempt times out unless it has ended or been suspended."""
    overdue: bool = False

    @property
    def is_active(self) -> bool:
        """Whether it is assigned to an agent and has not ended."""
        return self.stage is Stage.ASSIGNED and self.ended is None

    @property
    def is_done(self) -> bool:
        """Whether it succeeded."""
        return isinstance(self.ended, AgentInvokeDone)

    @property
    def is_retryable(self) -> bool:
        """Whether its attempt failed and another one is allowed."""
        return isinstance(self.ended, AgentInvokeFailed) and self.ended.retryable and self.attempt < MAX_ATTEMPTS

    @property
    def is_settled(self) -> bool:
        """Whether its outcome is final."""
        if self.stage in (Stage.REFUSED, Stage.SKIPPED, Stage.TIMED_OUT):
            return True
        return self.ended is not None and not self.is_retryable

    def assigned(self, event: TaskAssigned) -> Task:
        """Return the task after an assignment."""
        return msgspec.structs.replace(
            self,
            stage=Stage.ASSIGNED,
            attempt=event.attempt,
            resume=event.resume,
            ended=None,
            waits=(),
            overdue=False,
            deadline_at=event.deadline_at,
        )

    def suspended(self, event: AgentInvokePaused) -> Task:
        """Return the task after its agent suspended it."""
        return msgspec.structs.replace(self, stage=Stage.PAUSED, waits=tuple(event.waits), deadline_at=None)

    def staged(self, stage: Stage) -> Task:
        """Return the task in a stage in which it waits for nothing."""
        return msgspec.structs.replace(self, stage=stage, waits=(), deadline_at=None)

    def is_current(self, attempt: int, resume: int) -> bool:
        """Return whether it is active in this attempt and resume: what concerns an earlier one has no effect."""
        return self.is_active and (attempt, resume) == (self.attempt, self.resume)


def of_delegation(requested: DelegationRequested, parent: Task) -> Task:
    """Return the task a delegation or handoff requests."""
    return Task(
        id=requested.task_id,
        agent=requested.agent,
        queue=requested.queue,
        instruction=requested.instruction,
        parent=parent.id,
        chain=(*parent.chain, parent.agent),
        handoff=requested.handoff,
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
