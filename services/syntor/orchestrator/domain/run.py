"""Pure run aggregate: state, evolve and decide.

A run is folded from its own events (category run), the requests about it (request), the events of its tasks that
matter to it (task: ends, pauses, delegations, plans), its fired timers (timer) and the TurnTaken of its session. After
each of these messages `decide` is called until it returns None; each event it returns is appended and folded in turn.
Invariants: a terminal run never changes, later messages are kept in the log and have no effect; a decision based on a
fired timer is itself in the log before anything else is based on it.

To replay a recorded history, feed before each decision: the run's own events before it; of the messages from outside,
in log order, those up to the one the decision names as its cause (its writer may have seen later ones too, up to any
point before the decision); the TurnTaken at its position, or, for a run without a session, right after the
`user_input`; and a fired timer last, where the cause is none of these: timers are not in the log. `at` is the
decision's own time, `history` the turns before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from syntor.contracts.events import Event
from syntor.contracts.request.v1 import (
    ApprovalDecision,
    CancelRequested,
    MessageDeadLettered,
    QuestionAnswered,
    ToolResultSubmitted,
)
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
    UserInput,
)
from syntor.contracts.session.v1 import TurnTaken
from syntor.contracts.task.v1 import (
    AgentInvokeDone,
    AgentInvokeFailed,
    AgentInvokePaused,
    DelegationRequested,
    PlanProposed,
    Wait,
)
from syntor.contracts.timer.v1 import TimerFired
from syntor.contracts.vocabulary import TERMINAL_RUN_STATUSES, Guard, PauseReason, RunStatus
from syntor.eventsourcing.decider import Decider
from syntor.orchestrator.domain import guards
from syntor.orchestrator.domain.task import ROOT_TASK, Stage, Task, of_delegation, of_plan

HISTORY_RUNS = 50  # newest runs of the session whose messages an agent gets
LIMIT_REACHED = "limit_reached"
MESSAGE_DEAD_LETTERED = "message_dead_lettered"
UNREADABLE_LOG = "unreadable_log"  # not decided here: no decision is possible where an event cannot be read
PAUSED: Mapping[PauseReason, RunStatus] = {"approval": "paused_waiting_approval", "tool": "paused_waiting_tool"}
"""Status of a paused run by its reason."""


class Run(msgspec.Struct, frozen=True):
    """State of one run."""

    status: RunStatus | None = None
    """None: before its first event."""
    agent: str = ""
    queue: str = ""
    timeout_s: float = 0.0
    has_turn: bool = False
    tasks: Mapping[str, Task] = {}
    """By id, in order of creation."""
    responding_task: str = ROOT_TASK
    """Task whose answer is the run's; a handoff changes it."""
    cancel: CancelRequested | None = None
    dead_letter: MessageDeadLettered | None = None
    """First message of the run that was dead-lettered."""
    deadline_at: datetime | None = None
    """When the whole run times out, if its wall time is limited."""
    wall_time_s: float = 0.0
    out_of_time: bool = False
    resolved: frozenset[str] = frozenset()
    """Approvals decided or expired, questions closed, and calls of client-side tools with a result."""
    expired: frozenset[str] = frozenset()
    """Waits whose timer fired; not in the log."""
    paused_for: tuple[str, ...] = ()
    """What the newest RunPaused waits for."""
    guards: guards.Guards = guards.INITIAL

    @property
    def is_terminal(self) -> bool:
        """Whether the run has ended."""
        return self.status in TERMINAL_RUN_STATUSES

    def with_task(self, task: Task) -> Run:
        """Return the run with a task added or replaced."""
        return msgspec.structs.replace(self, tasks={**self.tasks, task.id: task})


INITIAL = Run()


def evolve(run: Run, event: Event, at: datetime, task_id: str = "") -> Run:
    """Apply one event; events of no concern and events after the end change nothing.

    Args:
        at: the event's envelope time.
        task_id: task the event belongs to, for events of tasks.
    """
    if run.is_terminal:
        return run
    replace = msgspec.structs.replace
    match event:
        case UserInput():
            return _created(run, event, at)
        case TurnTaken():
            return replace(run, has_turn=True)
        case RunStarted():
            return replace(run, status="running", has_turn=True)
        case TaskAssigned():
            return _assigned(run, event, at)
        case AgentInvokeDone() | AgentInvokeFailed():
            return _attempt_ended(run, event, at, task_id or ROOT_TASK)
        case AgentInvokePaused(attempt=attempt, resume=resume):
            task = run.tasks.get(task_id)
            return run.with_task(task.suspended(event)) if task and task.is_current(attempt, resume) else run
        case DelegationRequested() if task_id in run.tasks:
            return _with_new(run, [of_delegation(event, run.tasks[task_id])])
        case PlanProposed() if task_id in run.tasks:
            return _with_new(run, of_plan(event, run.tasks[task_id]))
        case ApprovalDecision(approval_id=wait_id) | ApprovalExpired(approval_id=wait_id):
            return replace(run, resolved=run.resolved | {wait_id})
        case ToolResultSubmitted(task_id=task_id, call_id=call_id):
            return replace(run, resolved=run.resolved | {f"{task_id}-{call_id}"})
        case QuestionAnswered(question_id=wait_id):
            return replace(run, resolved=run.resolved | {wait_id})
        case DelegationRefused(task_id=task_id):
            return _staged(run, task_id, Stage.REFUSED)
        case StepSkipped(task_id=task_id):
            return _staged(run, task_id, Stage.SKIPPED)
        case TaskTimedOut(task_id=task_id):
            return _staged(_record_outcome(run, task_id, at, succeeded=False), task_id, Stage.TIMED_OUT)
        case TimerFired():
            return _timer_fired(run, event)
        case CancelRequested() if run.cancel is None:
            return replace(run, cancel=event)
        case MessageDeadLettered() if run.dead_letter is None:
            return replace(run, dead_letter=event)
        case RunPaused(reason=reason, waiting_for=waiting_for):
            return replace(run, status=PAUSED[reason], paused_for=tuple(waiting_for))
        case RunDone():
            return _ended(run, "done")
        case RunFailed():
            return _ended(run, "failed")
        case RunCancelled():
            return _ended(run, "cancelled")
        case _:
            return run


DECIDER: Decider[Run] = Decider(category="run", initial=INITIAL, evolve=evolve)


def _created(run: Run, event: UserInput, at: datetime) -> Run:
    limit_s = event.budget.max_wall_time_s if event.budget is not None else None
    return msgspec.structs.replace(
        run,
        status="created",
        agent=event.agent,
        queue=event.queue,
        timeout_s=event.timeout_s,
        wall_time_s=limit_s or 0.0,
        deadline_at=at + timedelta(seconds=limit_s) if limit_s else None,
    )


def _assigned(run: Run, event: TaskAssigned, at: datetime) -> Run:
    task = (run.tasks.get(event.task_id) or Task(event.task_id, event.agent, event.queue)).assigned(event)
    first = event.attempt == 1 and not event.resume
    if task.parent and first:
        run = msgspec.structs.replace(run, guards=guards.record_delegation(run.guards, task, at))
    run = run.with_task(task)
    if event.handoff_from and event.handoff_from in run.tasks:
        run = _staged(run, event.handoff_from, Stage.HANDED_OVER)
        run = msgspec.structs.replace(run, responding_task=task.id)
    return run if run.status == "running" else msgspec.structs.replace(run, status="running", paused_for=())


def _attempt_ended(run: Run, event: AgentInvokeDone | AgentInvokeFailed, at: datetime, task_id: str) -> Run:
    task = run.tasks.get(task_id)
    if task is None or not task.is_active:
        return run
    task = msgspec.structs.replace(task, ended=event)
    run = run.with_task(task)
    return _record_outcome(run, task_id, at, succeeded=task.is_done) if task.is_settled else run


def _record_outcome(run: Run, task_id: str, at: datetime, *, succeeded: bool) -> Run:
    task = run.tasks.get(task_id)
    if task is None or not task.parent:
        return run
    return msgspec.structs.replace(run, guards=guards.record_outcome(run.guards, task, at, succeeded=succeeded))


def _with_new(run: Run, tasks: list[Task]) -> Run:
    new = {task.id: task for task in tasks if task.id not in run.tasks}
    return msgspec.structs.replace(run, tasks={**run.tasks, **new}) if new else run


def _staged(run: Run, task_id: str, stage: Stage) -> Run:
    task = run.tasks.get(task_id)
    return run if task is None else run.with_task(task.staged(stage))


def _timer_fired(run: Run, event: TimerFired) -> Run:
    if event.name == "run_deadline":
        return msgspec.structs.replace(run, out_of_time=True)
    if event.name == "wait_expired":
        return msgspec.structs.replace(run, expired=run.expired | {event.wait_id})
    task = run.tasks.get(event.task_id)
    if task is None or not task.is_current(event.attempt, event.resume):
        return run
    return run.with_task(msgspec.structs.replace(task, overdue=True))


def _ended(run: Run, status: RunStatus) -> Run:
    """Return a terminal run, without what no decision needs any more."""
    tasks = {task.id: Task(task.id, task.agent, task.queue, attempt=task.attempt) for task in run.tasks.values()}
    return Run(status=status, agent=run.agent, queue=run.queue, has_turn=run.has_turn, tasks=tasks)


def failure_of(letter: MessageDeadLettered) -> RunFailed:
    """Return how a run ends that has a dead-lettered message."""
    message = f"{letter.consumer} could not handle {letter.subject} at position {letter.position}: {letter.cause}"
    return RunFailed(code=MESSAGE_DEAD_LETTERED, message=message)


def decide(run: Run, at: datetime, history: tuple[str, ...] = ()) -> RunEvent | None:
    """Return the next event the run calls for, or None when it waits or has ended.

    Args:
        at: log time of the trigger, never the wall clock.
        history: runs of the session that had the turn before, oldest first; used when the run starts.
    """
    if run.is_terminal or run.status is None:
        return None
    if run.cancel is not None:
        return RunCancelled(reason=run.cancel.reason, requested_by=run.cancel.requested_by)
    if run.dead_letter is not None:
        return failure_of(run.dead_letter)
    if run.out_of_time:
        message = f"run: max_wall_time_s is reached: no end within {run.wall_time_s:g} s"
        return RunFailed(code=LIMIT_REACHED, message=message)
    if run.status == "created":
        return RunStarted(agent=run.agent, history=list(history[-HISTORY_RUNS:])) if run.has_turn else None
    if not run.tasks:
        return _assign(run, Task(ROOT_TASK, run.agent, run.queue), at)
    if len(run.tasks) > 1 or run.tasks[ROOT_TASK].waits:
        for task in run.tasks.values():
            if (event := _for_task(run, task, at)) is not None:
                return event
    return _for_end(run, run.tasks[run.responding_task], at) or _pause(run)


def deadlines(run: Run) -> dict[str, tuple[datetime, TimerFired]]:
    """Return the timers the run needs now, by name; none once it has ended."""
    if run.is_terminal:
        return {}
    timers: dict[str, tuple[datetime, TimerFired]] = {}
    if run.deadline_at is not None and run.status != "created":
        timers["run"] = run.deadline_at, TimerFired(name="run_deadline")
    for task in run.tasks.values():
        if task.is_active and task.deadline_at is not None:
            fired = TimerFired(name="task_deadline", task_id=task.id, attempt=task.attempt, resume=task.resume)
            timers[f"task-{task.id}"] = task.deadline_at, fired
        for wait in task.waits:
            if wait.expires_at is not None and wait.id not in run.resolved:
                fired = TimerFired(name="wait_expired", task_id=task.id, wait_id=wait.id)
                timers[f"wait-{wait.id}"] = wait.expires_at, fired
    return timers


def _for_task(run: Run, task: Task, at: datetime) -> RunEvent | None:
    """Return what one task calls for: an expiry, an assignment, a refusal, a timeout."""
    if task.stage is Stage.PAUSED:
        for wait in task.waits:
            if wait.kind == "approval" and wait.id in run.expired and wait.id not in run.resolved:
                return ApprovalExpired(approval_id=wait.id)
        return _resume(run, task, at)
    if task.stage is Stage.PROPOSED:
        return _begin(run, task, at)
    if task.id == run.responding_task or not task.parent:
        return None
    if task.overdue and task.ended is None and task.stage is Stage.ASSIGNED:
        return TaskTimedOut(task_id=task.id, message=f"no answer within {run.timeout_s:g} s")
    return _assign(run, task, at, attempt=task.attempt + 1) if task.is_retryable else None


def _begin(run: Run, task: Task, at: datetime) -> RunEvent | None:
    """Return what a proposed task calls for; None while its dependencies are pending."""
    for needed in task.depends_on:
        other = run.tasks.get(needed)
        if other is None:
            return _refused(task, "plan", f"step {task.step} depends on an unknown step")
        if other.is_settled and not other.is_done:
            message = f"step {other.step} was not done"
            return StepSkipped(task_id=task.id, parent_task_id=task.parent, step=task.step, message=message)
        if not other.is_done:
            return _refused(task, "plan", "its steps depend on each other in a cycle") if _cyclic(run, task) else None
    if task.handoff and task.parent != run.responding_task:
        return _refused(task, "handoff", "only the agent that answers the user may hand over: return your result")
    if not run.tasks[task.parent].is_settled:
        assigned = sum(1 for other in run.tasks.values() if other.attempt)
        if (refusal := guards.refusal(run.guards, task, at, assigned)) is not None:
            return _refused(task, *refusal)
    return _assign(run, task, at)


def _cyclic(run: Run, task: Task) -> bool:
    """Return whether a task depends on itself."""
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
    """Return the assignment that resumes a suspended task, or None while it must wait."""
    arrived = [wait for wait in task.waits if _has_arrived(run, wait)]
    from_outside = any(wait.kind != "task" for wait in arrived)
    if not arrived or not (from_outside or len(arrived) == len(task.waits)):
        return None
    settled = [wait.id for wait in arrived if wait.kind == "task"]
    return _assign(run, task, at, attempt=task.attempt, resume=task.resume + 1, settled_tasks=settled)


def _has_arrived(run: Run, wait: Wait) -> bool:
    if wait.kind == "task":
        other = run.tasks.get(wait.id)
        return other is None or other.is_settled
    return wait.id in run.resolved or (wait.kind == "tool" and wait.id in run.expired)


def _for_end(run: Run, task: Task, at: datetime) -> RunEvent | None:
    """Return what the end of the responding task calls for."""
    if isinstance(task.ended, AgentInvokeDone):
        done = task.ended
        return RunDone(final_message=done.final_message, task_id=task.id, finish_reason=done.finish_reason)
    if isinstance(task.ended, AgentInvokeFailed):
        if task.is_retryable:
            return _assign(run, task, at, attempt=task.attempt + 1)
        return RunFailed(code=task.ended.code, message=task.ended.message, task_id=task.id)
    if task.overdue:
        message = f"no answer within {run.timeout_s:g} s; raise SYNTOR_AGENT_TIMEOUT_S or --timeout"
        return RunFailed(code="timeout", message=message, task_id=task.id)
    return None


def _pause(run: Run) -> RunPaused | None:
    """Return the pause of a run that can only continue after a response from outside."""
    if len(run.tasks) == 1 and run.tasks[ROOT_TASK].is_active:
        return None
    if any(task.is_active or (task.stage is Stage.PROPOSED and not task.depends_on) for task in run.tasks.values()):
        return None
    waits = [wait for task in run.tasks.values() for wait in task.waits if wait.kind != "task"]
    waiting_for = tuple(wait.id for wait in waits)
    if not waits or waiting_for == run.paused_for:
        return None
    reason: PauseReason = "approval" if any(wait.kind == "approval" for wait in waits) else "tool"
    return RunPaused(reason=reason, waiting_for=list(waiting_for))


def _refused(task: Task, guard: Guard, message: str) -> DelegationRefused:
    return DelegationRefused(
        task_id=task.id, parent_task_id=task.parent, agent=task.agent, guard=guard, message=message
    )


def _assign(
    run: Run, task: Task, at: datetime, *, attempt: int = 1, resume: int = 0, settled_tasks: list[str] | None = None
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
        settled_tasks=settled_tasks or [],
        step=task.step,
        handoff_from=task.parent if task.handoff else "",
        chain=list(task.chain),
    )
