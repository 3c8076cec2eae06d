"""What a run is and what it calls for next: pure.

A run is folded from its own events (category run), the requests made of it (request), the ends of its tasks (task),
its due timers (timer) and the TurnTaken of its session. After each message from outside, `decide` is asked until it
answers None; what it answers is appended and folded in turn. Invariant: an ended run never changes; what comes late is
kept in the log and has no effect.

Who decides a recorded history again feeds, before each decision: the run's own events before it; of the messages from
outside, in the order of the log, those up to the one the decision names as its cause (its writer may have seen later
ones too, up to any point before the decision); the TurnTaken where it stands in the log, or, for a run without a
session, right behind the `user_input`; and a due timer last, where the cause is none of these: timers are not in the
log. `at` is the decision's own time, `history` the turns before it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from syntor.contracts.events import Event
from syntor.contracts.request.v1 import CancelRequested
from syntor.contracts.run.v1 import (
    RunCancelled,
    RunDone,
    RunEvent,
    RunFailed,
    RunStarted,
    TaskAssigned,
    UserInput,
)
from syntor.contracts.session.v1 import TurnTaken
from syntor.contracts.task.v1 import AgentInvokeDone, AgentInvokeFailed
from syntor.contracts.timer.v1 import TimerDue

ROOT_TASK = "t1"
MAX_ATTEMPTS = 3  # of one task, for failures the agent calls worth another try
HISTORY_RUNS = 50  # newest runs of the session an agent gets messages of
DEADLINE_TIMER = "task_deadline"


class Status(StrEnum):
    """Where a run is; the values are those of the API."""

    NEW = "new"
    CREATED = "created"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL = frozenset({Status.DONE, Status.FAILED, Status.CANCELLED})


class Run(msgspec.Struct, frozen=True):
    """State of one run."""

    status: Status = Status.NEW
    agent: str = ""
    queue: str = ""
    timeout_s: float = 0.0
    has_turn: bool = False
    attempt: int = 0
    """Attempts of the root task assigned so far."""
    ended: AgentInvokeDone | AgentInvokeFailed | None = None
    """How the current attempt ended, if it did; an ended run need not keep the answer."""
    deadline_at: datetime | None = None
    """When the current attempt must have ended."""
    overdue: bool = False
    """The current attempt passed its deadline."""
    cancel: CancelRequested | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether the run has ended."""
        return self.status in TERMINAL


INITIAL = Run()


def evolve(run: Run, event: Event) -> Run:
    """Apply one fact; facts of no concern and facts after the end change nothing."""
    if run.is_terminal:
        return run
    replace = msgspec.structs.replace
    match event:
        case UserInput():
            return replace(run, status=Status.CREATED, agent=event.agent, queue=event.queue, timeout_s=event.timeout_s)
        case TurnTaken():
            return replace(run, has_turn=True)
        case RunStarted():
            return replace(run, status=Status.RUNNING, has_turn=True)
        case TaskAssigned():
            return replace(run, attempt=event.attempt, ended=None, overdue=False, deadline_at=event.deadline_at)
        case AgentInvokeDone() | AgentInvokeFailed() if run.ended is None:
            return replace(run, ended=event)
        case TimerDue(name=name, attempt=attempt) if name == DEADLINE_TIMER and attempt == run.attempt:
            return replace(run, overdue=True)
        case CancelRequested() if run.cancel is None:
            return replace(run, cancel=event)
        case RunDone():
            return replace(run, status=Status.DONE, ended=None)
        case RunFailed():
            return replace(run, status=Status.FAILED, ended=None)
        case RunCancelled():
            return replace(run, status=Status.CANCELLED, ended=None)
        case _:
            return run


def decide(run: Run, at: datetime, history: tuple[str, ...] = ()) -> RunEvent | None:
    """Return the next event the run calls for, or None when it waits or has ended.

    Args:
        at: log time of the message being answered, never the wall clock.
        history: runs of the session that had the turn before, oldest first; used when the run starts.
    """
    match run.status:
        case Status.CREATED | Status.RUNNING if run.cancel is not None:
            return RunCancelled(reason=run.cancel.reason, requested_by=run.cancel.requested_by)
        case Status.CREATED if run.has_turn:
            return RunStarted(agent=run.agent, history=list(history[-HISTORY_RUNS:]))
        case Status.RUNNING if run.attempt == 0:
            return _assign(run, at)
        case Status.RUNNING if isinstance(run.ended, AgentInvokeDone):
            return RunDone(final_message=run.ended.final_message, task_id=ROOT_TASK)
        case Status.RUNNING if isinstance(run.ended, AgentInvokeFailed):
            if run.ended.retryable and run.attempt < MAX_ATTEMPTS:
                return _assign(run, at)
            return RunFailed(code=run.ended.code, message=run.ended.message, task_id=ROOT_TASK)
        case Status.RUNNING if run.overdue:
            message = f"no answer within {run.timeout_s:g} s; raise SYNTOR_AGENT_TIMEOUT_S or --timeout"
            return RunFailed(code="timeout", message=message, task_id=ROOT_TASK)
        case _:
            return None


def deadline(run: Run) -> datetime | None:
    """Return when the current attempt must have ended, or None when nothing runs."""
    return run.deadline_at if run.status is Status.RUNNING and run.ended is None else None


def _assign(run: Run, at: datetime) -> TaskAssigned:
    return TaskAssigned(
        task_id=ROOT_TASK,
        agent=run.agent,
        queue=run.queue,
        attempt=run.attempt + 1,
        deadline_at=at + timedelta(seconds=run.timeout_s),
    )
