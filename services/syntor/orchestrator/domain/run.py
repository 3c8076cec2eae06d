"""What a run is and what it calls for next: pure.

A run is folded from its own events (category run), the requests made of it (request), what agents say of its tasks
(task: ends, pauses, delegations, plans), its due timers (timer) and the TurnTaken of its session. After each message
from outside, `decide` is asked until it answers None; what it answers is appended and folded in turn. Invariants: an
ended run never changes, what comes late is kept in the log and has no effect; a decision that stands on a due timer is
itself in the log before anything else stands on it.

Who decides a recorded history again feeds, before each decision: the run's own events before it; of the messages from
outside, in the order of the log, those up to the one the decision names as its cause (its writer may have seen later
ones too, up to any point before the decision); the TurnTaken where it stands in the log, or, for a run without a
session, right behind the `user_input`; and a due timer last, where the cause is none of these: timers are not in the
log. `at` is the decision's own time, `history` the turns before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from syntor.contracts.events import Event
from syntor.contracts.request.v1 import ApprovalDecision, CancelRequested, MessageParked, ToolResult
from syntor.contracts.run.v1 import (
    ApprovalExpired,
    DelegationRefused,
    RunCancelled,
    RunDone,
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
)
from syntor.contracts.timer.v1 import TimerDue
from syntor.orchestrator.domain import guards
from syntor.orchestrator.domain.tasks import ROOT_TASK, Stage, Task, of_delegation, of_plan

HISTORY_RUNS = 50  # newest runs of the session an agent gets messages of
DEADLINE_TIMER, RUN_TIMER, WAIT_TIMER = "task_deadline", "run_deadline", "wait_expired"


class Status(StrEnum):
    """Where a run is; the values are those of the API."""

    NEW = "new"
    CREATED = "created"
    RUNNING = "running"
    PAUSED_WAITING_APPROVAL = "paused_waiting_approval"
    PAUSED_WAITING_TOOL = "paused_waiting_tool"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL = frozenset({Status.DONE, Status.FAILED, Status.CANCELLED})
PAUSED = {"approval": Status.PAUSED_WAITING_APPROVAL, "tool": Status.PAUSED_WAITING_TOOL}
"""Status of a paused run by its reason."""


class Run(msgspec.Struct, frozen=True):
    """State of one run."""

    status: Status = Status.NEW
    agent: str = ""
    queue: str = ""
    timeout_s: float = 0.0
    has_turn: bool = False
    tasks: Mapping[str, Task] = {}
    """By id, in the order they became known."""
    answering: str = ROOT_TASK
    """Task whose answer is the run's; a handoff changes it."""
    cancel: CancelRequested | None = None
    parked: MessageParked | None = None
    """A message of the run that was given up."""
    deadline_at: datetime | None = None
    """When the whole run must have ended, if it has a limit of wall time."""
    wall_time_s: float = 0.0
    out_of_time: bool = False
    answered: frozenset[str] = frozenset()
    """Approvals decided on or expired, and tool calls of the client with their result."""
    due: frozenset[str] = frozenset()
    """Waits whose time is up; not in the log."""
    paused_for: tuple[str, ...] = ()
    """What the newest RunPaused waits for."""
    guards: guards.Guards = guards.INITIAL

    @property
    def is_terminal(self) -> bool:
        """Whether the run has ended."""
        return self.status in TERMINAL

    @property
    def attempt(self) -> int:
        """Attempts of the run's own task so far."""
        root = self.tasks.get(ROOT_TASK)
        return root.attempt if root is not None else 0


INITIAL = Run()


def evolve(run: Run, event: Event, task_id: str = "", at: datetime | None = None) -> Run:
    """Apply one fact; facts of no concern and facts after the end change nothing.

    Args:
        task_id: task that says it, for events of tasks.
        at: the fact's own time.
    """
    if run.is_terminal:
        return run
    replace = msgspec.structs.replace
    match event:
        case UserInput():
            return _asked(run, event, at)
        case TurnTaken():
            return replace(run, has_turn=True)
        case RunStarted():
            return replace(run, status=Status.RUNNING, has_turn=True)
        case TaskAssigned():
            return _assigned(run, event, at)
        case AgentInvokeDone() | AgentInvokeFailed():
            return _ended(run, event, task_id or ROOT_TASK, at)
        case AgentInvokePaused():
            return _put_down(run, event, task_id)
        case DelegationRequested() if task_id in run.tasks:
            return _with_new(run, [of_delegation(event, run.tasks[task_id])])
        case PlanProposed() if task_id in run.tasks:
            return _with_new(run, of_plan(event, run.tasks[task_id]))
        case ApprovalDecision(approval_id=wait_id) | ApprovalExpired(approval_id=wait_id):
            return replace(run, answered=run.answered | {wait_id})
        case ToolResult(task_id=task, call_id=call_id):
            return replace(run, answered=run.answered | {f"{task}-{call_id}"})
        case DelegationRefused(task_id=task):
            return _staged(run, task, Stage.REFUSED)
        case StepSkipped(task_id=task):
            return _staged(run, task, Stage.SKIPPED)
        case TaskTimedOut(task_id=task):
            run = _bounced(run, task, at, well=False)
            return _staged(run, task, Stage.TIMED_OUT)
        case TimerDue():
            return _came_due(run, event)
        case CancelRequested() if run.cancel is None:
            return replace(run, cancel=event)
        case MessageParked() if run.parked is None:
            return replace(run, parked=event)
        case RunPaused(reason=reason, waiting_for=waiting_for):
            return replace(run, status=PAUSED.get(reason, run.status), paused_for=tuple(waiting_for))
        case RunDone():
            return _closed(run, Status.DONE)
        case RunFailed():
            return _closed(run, Status.FAILED)
        case RunCancelled():
            return _closed(run, Status.CANCELLED)
        case _:
            return run


def _asked(run: Run, event: UserInput, at: datetime | None) -> Run:
    limit_s = event.budget.max_wall_time_s if event.budget is not None else None
    return msgspec.structs.replace(
        run,
        status=Status.CREATED,
        agent=event.agent,
        queue=event.queue,
        timeout_s=event.timeout_s,
        wall_time_s=limit_s or 0.0,
        deadline_at=at + timedelta(seconds=limit_s) if limit_s and at is not None else None,
    )


def _assigned(run: Run, event: TaskAssigned, at: datetime | None) -> Run:
    known = run.tasks.get(event.task_id) or Task(event.task_id, event.agent, event.queue)
    task = msgspec.structs.replace(
        known,
        stage=Stage.ASSIGNED,
        attempt=event.attempt,
        resume=event.resume,
        ended=None,
        waits=(),
        overdue=False,
        deadline_at=event.deadline_at,
    )
    tasks = {**run.tasks, task.id: task}
    changes = msgspec.structs.replace(run, tasks=tasks)
    if task.parent and event.attempt == 1 and not event.resume and at is not None:
        changes = msgspec.structs.replace(changes, guards=guards.let_through(run.guards, task, at))
    if event.handoff_from and event.handoff_from in tasks:
        changes = _staged(changes, event.handoff_from, Stage.HANDED_OVER)
        changes = msgspec.structs.replace(changes, answering=task.id)
    if run.status is Status.RUNNING:
        return changes
    return msgspec.structs.replace(changes, status=Status.RUNNING, paused_for=())


def _ended(run: Run, event: AgentInvokeDone | AgentInvokeFailed, task_id: str, at: datetime | None) -> Run:
    task = run.tasks.get(task_id)
    if task is None or not task.is_active:
        return run
    task = msgspec.structs.replace(task, ended=event)
    run = msgspec.structs.replace(run, tasks={**run.tasks, task_id: task})
    return _bounced(run, task_id, at, well=task.is_done) if task.is_over else run


def _bounced(run: Run, task_id: str, at: datetime | None, *, well: bool) -> Run:
    task = run.tasks.get(task_id)
    if task is None or not task.parent or at is None:
        return run
    return msgspec.structs.replace(run, guards=guards.ended(run.guards, task, at, well=well))


def _put_down(run: Run, event: AgentInvokePaused, task_id: str) -> Run:
    task = run.tasks.get(task_id)
    if task is None or not task.is_active or (event.attempt, event.resume) != (task.attempt, task.resume):
        return run
    task = msgspec.structs.replace(task, stage=Stage.PAUSED, waits=tuple(event.waits), deadline_at=None)
    return msgspec.structs.replace(run, tasks={**run.tasks, task_id: task})


def _with_new(run: Run, tasks: list[Task]) -> Run:
    new = {task.id: task for task in tasks if task.id not in run.tasks}
    return msgspec.structs.replace(run, tasks={**run.tasks, **new}) if new else run


def _staged(run: Run, task_id: str, stage: Stage) -> Run:
    task = run.tasks.get(task_id)
    if task is None:
        return run
    task = msgspec.structs.replace(task, stage=stage, waits=(), deadline_at=None)
    return msgspec.structs.replace(run, tasks={**run.tasks, task_id: task})


def _came_due(run: Run, event: TimerDue) -> Run:
    if event.name == RUN_TIMER:
        return msgspec.structs.replace(run, out_of_time=True)
    if event.name == WAIT_TIMER:
        return msgspec.structs.replace(run, due=run.due | {event.wait_id})
    task = run.tasks.get(event.task_id)
    if event.name != DEADLINE_TIMER or task is None or not task.is_active:
        return run
    if (event.attempt, event.resume) != (task.attempt, task.resume):
        return run
    task = msgspec.structs.replace(task, overdue=True)
    return msgspec.structs.replace(run, tasks={**run.tasks, task.id: task})


def _closed(run: Run, status: Status) -> Run:
    """Return an ended run; it need not keep what was said."""
    return Run(status=status, agent=run.agent, queue=run.queue, has_turn=run.has_turn, tasks=_stubs(run))


def _stubs(run: Run) -> Mapping[str, Task]:
    return {task.id: Task(task.id, task.agent, task.queue, attempt=task.attempt) for task in run.tasks.values()}
