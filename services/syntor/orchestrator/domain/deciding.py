"""What a run calls for next: pure. See `run` for what it stands on."""

from __future__ import annotations

from datetime import datetime, timedelta

from syntor.contracts.run.v1 import (
    ApprovalExpired,
    DelegationRefused,
    RunCancelled,
    RunDone,
    RunEvent,
    RunFailed,
    RunPaused,
    RunStarted,
    StepSkipped,
    TaskAssigned,
    TaskTimedOut,
)
from syntor.contracts.task.v1 import AgentInvokeDone, AgentInvokeFailed, Wait
from syntor.contracts.timer.v1 import TimerDue
from syntor.orchestrator.domain import guards
from syntor.orchestrator.domain.run import DEADLINE_TIMER, HISTORY_RUNS, RUN_TIMER, WAIT_TIMER, Run, Status
from syntor.orchestrator.domain.tasks import ROOT_TASK, Stage, Task

LIMIT_REACHED = "limit_reached"
MESSAGE_PARKED = "message_parked"
UNREADABLE_LOG = "unreadable_log"  # not decided here: nothing can be, where an event cannot be read


def decide(run: Run, at: datetime, history: tuple[str, ...] = ()) -> RunEvent | None:
    """Return the next event the run calls for, or None when it waits or has ended.

    Args:
        at: log time of the message being answered, never the wall clock.
        history: runs of the session that had the turn before, oldest first; used when the run starts.
    """
    if run.is_terminal or run.status is Status.NEW:
        return None
    if run.cancel is not None:
        return RunCancelled(reason=run.cancel.reason, requested_by=run.cancel.requested_by)
    if run.parked is not None:
        parked = run.parked
        message = f"{parked.consumer} gave up on {parked.subject} at position {parked.position}: {parked.cause}"
        return RunFailed(code=MESSAGE_PARKED, message=message)
    if run.out_of_time:
        message = f"run: max_wall_time_s is reached: no end within {run.wall_time_s:g} s"
        return RunFailed(code=LIMIT_REACHED, message=message)
    if run.status is Status.CREATED:
        return RunStarted(agent=run.agent, history=list(history[-HISTORY_RUNS:])) if run.has_turn else None
    if not run.tasks:
        return _assign(run, Task(ROOT_TASK, run.agent, run.queue), at)
    if len(run.tasks) > 1 or run.tasks[ROOT_TASK].waits:
        for task in run.tasks.values():
            if (event := _for_task(run, task, at)) is not None:
                return event
    return _for_answer(run, run.tasks[run.answering], at) or _pause(run)


def deadlines(run: Run) -> dict[str, tuple[datetime, TimerDue]]:
    """Return the timers the run needs now, by name; none once it has ended."""
    if run.is_terminal:
        return {}
    timers: dict[str, tuple[datetime, TimerDue]] = {}
    if run.deadline_at is not None and run.status is not Status.CREATED:
        timers["run"] = run.deadline_at, TimerDue(name=RUN_TIMER)
    for task in run.tasks.values():
        if task.is_active and task.deadline_at is not None:
            due = TimerDue(name=DEADLINE_TIMER, task_id=task.id, attempt=task.attempt, resume=task.resume)
            timers[f"task-{task.id}"] = task.deadline_at, due
        for wait in task.waits:
            if wait.expires_at is not None and wait.id not in run.answered:
                due = TimerDue(name=WAIT_TIMER, task_id=task.id, wait_id=wait.id)
                timers[f"wait-{wait.id}"] = wait.expires_at, due
    return timers


def _for_task(run: Run, task: Task, at: datetime) -> RunEvent | None:
    """Return what one task calls for: an expiry, an assignment, a refusal, to go on."""
    if task.stage is Stage.PAUSED:
        for wait in task.waits:
            if wait.kind == "approval" and wait.id in run.due and wait.id not in run.answered:
                return ApprovalExpired(approval_id=wait.id)
        return _resume(run, task, at)
    if task.stage is Stage.PROPOSED:
        return _begin(run, task, at)
    if task.id == run.answering or not task.parent:
        return None
    if task.overdue and task.ended is None and task.stage is Stage.ASSIGNED:
        return TaskTimedOut(task_id=task.id, message=f"no answer within {run.timeout_s:g} s")
    return _assign(run, task, at, attempt=task.attempt + 1) if task.may_be_repeated else None


def _begin(run: Run, task: Task, at: datetime) -> RunEvent | None:
    """Return what a proposed task calls for; None while it waits for others."""
    for needed in task.depends_on:
        other = run.tasks.get(needed)
        if other is None:
            return _refused(task, "plan", f"step {task.step} depends on a step there is not")
        if other.is_over and not other.is_done:
            return StepSkipped(
                task_id=task.id,
                parent_task_id=task.parent,
                step=task.step,
                message=f"step {other.step} was not done",
            )
        if not other.is_done:
            return _refused(task, "plan", "its steps depend on each other in a circle") if _circle(run, task) else None
    if task.handoff and task.parent != run.answering:
        return _refused(task, "handoff", "only the agent that answers the user may hand over; give your result instead")
    if not run.tasks[task.parent].is_over:
        let_through = sum(1 for other in run.tasks.values() if other.attempt)
        if (refusal := guards.refusal(run.guards, task, at, let_through)) is not None:
            return _refused(task, *refusal)
    return _assign(run, task, at)


def _circle(run: Run, task: Task) -> bool:
    """Tell whether a task waits for itself."""
    seen: set[str] = set()
    ahead = list(task.depends_on)
    while ahead:
        name = ahead.pop()
        if name == task.id:
            return True
        if name not in seen and name in run.tasks:
            seen.add(name)
            ahead += run.tasks[name].depends_on
    return False


def _resume(run: Run, task: Task, at: datetime) -> TaskAssigned | None:
    """Return the assignment of a paused task that can go on."""
    came = [wait for wait in task.waits if _is_there(run, wait)]
    outside = any(wait.kind != "task" for wait in came)
    if not came or not (outside or len(came) == len(task.waits)):
        return None
    over = [wait.id for wait in came if wait.kind == "task"]
    return _assign(run, task, at, attempt=task.attempt, resume=task.resume + 1, over=over)


def _is_there(run: Run, wait: Wait) -> bool:
    if wait.kind == "task":
        other = run.tasks.get(wait.id)
        return other is None or other.is_over
    return wait.id in run.answered or (wait.kind == "tool" and wait.id in run.due)


def _for_answer(run: Run, task: Task, at: datetime) -> RunEvent | None:
    """Return what the end of the answering task calls for."""
    if isinstance(task.ended, AgentInvokeDone):
        return RunDone(final_message=task.ended.final_message, task_id=task.id)
    if isinstance(task.ended, AgentInvokeFailed):
        if task.may_be_repeated:
            return _assign(run, task, at, attempt=task.attempt + 1)
        return RunFailed(code=task.ended.code, message=task.ended.message, task_id=task.id)
    if task.overdue:
        message = f"no answer within {run.timeout_s:g} s; raise SYNTOR_AGENT_TIMEOUT_S or --timeout"
        return RunFailed(code="timeout", message=message, task_id=task.id)
    return None


def _pause(run: Run) -> RunPaused | None:
    """Return the pause of a run in which nothing can go on before somebody outside answers."""
    if len(run.tasks) == 1 and run.tasks[ROOT_TASK].is_active:
        return None
    if any(task.is_active or (task.stage is Stage.PROPOSED and not task.depends_on) for task in run.tasks.values()):
        return None
    waits = [wait for task in run.tasks.values() for wait in task.waits if wait.kind != "task"]
    waiting_for = tuple(wait.id for wait in waits)
    if not waits or waiting_for == run.paused_for:
        return None
    reason = "approval" if any(wait.kind == "approval" for wait in waits) else "tool"
    return RunPaused(reason=reason, waiting_for=list(waiting_for))


def _refused(task: Task, guard: str, message: str) -> DelegationRefused:
    return DelegationRefused(
        task_id=task.id, parent_task_id=task.parent, agent=task.agent, guard=guard, message=message
    )


def _assign(
    run: Run, task: Task, at: datetime, *, attempt: int = 1, resume: int = 0, over: list[str] | None = None
) -> TaskAssigned:
    return TaskAssigned(
        task_id=task.id,
        agent=task.agent,
        queue=task.queue,
        attempt=attempt,
        instruction=task.instruction,
        parent_task_id=task.parent,
        deadline_at=at + timedelta(seconds=run.timeout_s),
        resume=resume,
        inputs=list(task.depends_on),
        over=over or [],
        step=task.step,
        handoff_from=task.parent if task.handoff else "",
        chain=list(task.chain),
    )
