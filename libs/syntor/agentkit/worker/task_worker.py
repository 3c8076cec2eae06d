"""Works on the tasks of an agent's queue: runs the agent's function for each and records how the task ends.

A redelivered task is folded from the log and continues after its last recorded result, unless the instance that began
it answers that it still works on it. An attempt that is superseded stops its calls and commands and appends nothing.
Cancellation reaches a task as the run's own event.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec

from syntor.agentkit.context import TaskContext
from syntor.agentkit.domain import task as tasks
from syntor.agentkit.errors import AgentFailedError, TaskPausedError
from syntor.agentkit.execution.task_log import TaskLog
from syntor.agentkit.worker.task_context_factory import TaskContextFactory
from syntor.contracts import subjects
from syntor.contracts.bounds import MAX_NAME, clip
from syntor.contracts.clock import now
from syntor.contracts.errors import (
    InfrastructureError,
    MalformedMessageError,
    RevisionConflictError,
    SupersededError,
    SyntorError,
)
from syntor.contracts.events import TERMINAL_RUN_TYPES
from syntor.contracts.run.v1 import TaskAssigned
from syntor.contracts.task.v1 import AgentInvokeDone, AgentInvokeFailed, AgentInvokePaused, AgentInvokeStarted
from syntor.eventsourcing.store import EventStore, Recorded
from syntor.jetstream.connection import Message
from syntor.jetstream.consumer import Delivery
from syntor.jetstream.instances import Standing
from syntor.models.chat import ModelError
from syntor.runtime.redaction import redact
from syntor.runtime.telemetry import child_traceparent, get_logger

Outcome = AgentInvokeDone | AgentInvokeFailed | AgentInvokePaused
Invoke = Callable[[TaskContext], Awaitable[str] | AsyncIterator[str]]
"""An agent: a coroutine that returns the answer, or a generator whose pieces make up the answer."""
AskStanding = Callable[[str, int], Awaitable[Standing]]
"""Asks an instance whether it holds the message at a position."""

STALE_AFTER_S = 0.25  # the run of an assignment that waited longer may have ended: the log is read first
_CONFIRM_AFTER_S = (0.02, 0.1, 0.5, 2.0)  # an end in flight is usually stored within the first of them
_REMEMBERED_ENDS = 2000  # ended runs remembered: a cancellation may overtake its assignment


class _Running(msgspec.Struct, frozen=True, eq=False):
    """A task in progress."""

    log: TaskLog
    work: asyncio.Task[str]


class TaskWorker:
    """Runs the tasks of one agent's queue in this process."""

    def __init__(
        self,
        agent_id: str,
        instance: str,
        invoke: Invoke,
        store: EventStore,
        contexts: TaskContextFactory,
        ask_standing: AskStanding,
    ) -> None:
        self._agent_id = agent_id
        self._instance = instance
        self._invoke = invoke
        self._store = store
        self._contexts = contexts
        self._ask_standing = ask_standing
        self._running: dict[tuple[str, str], _Running] = {}
        self._announced: OrderedDict[str, None] = OrderedDict()
        self._ended: set[str] = set()
        self._confirming: set[asyncio.Task[None]] = set()
        self._log = get_logger()

    def reconfigure(self, invoke: Invoke, contexts: TaskContextFactory) -> None:
        """Use another function and context factory for tasks that start from now on."""
        self._invoke, self._contexts = invoke, contexts

    @property
    def active(self) -> int:
        """Tasks in progress."""
        return len(self._running)

    def on_run_ended(self, message: Message) -> None:
        """Stop the tasks of a run that ended without them; called with the run's event.

        A published event may not have been stored: the log is read before the tasks are stopped.
        """
        run_id = subjects.parse_event(message.subject).run_id
        self._announced[run_id] = None
        if len(self._announced) > _REMEMBERED_ENDS:
            self._announced.popitem(last=False)
        if any(running == run_id for running, _ in self._running):
            self._confirm_end(run_id)

    def _confirm_end(self, run_id: str) -> None:
        task = asyncio.create_task(self._stop_if_ended(run_id))
        self._confirming.add(task)
        task.add_done_callback(self._confirming.discard)

    async def _stop_if_ended(self, run_id: str) -> None:
        for delay_s in (0.0, *_CONFIRM_AFTER_S):
            await asyncio.sleep(delay_s)
            try:
                if await self._run_ended(run_id):
                    break
            except InfrastructureError as exc:
                self._log.debug("run_end_not_confirmed", run_id=run_id, error=str(exc))
        else:
            self._announced.pop(run_id, None)
            return
        self._ended.add(run_id)
        for (running, _), task in self._running.items():
            if running == run_id:
                task.work.cancel()

    def check_owners(self) -> None:
        """Stop the tasks another instance took over; to be called after a stall or a loss of the connection."""
        for task in list(self._running.values()):
            checking = asyncio.create_task(self._check_owner(task.log))
            self._confirming.add(checking)
            checking.add_done_callback(self._confirming.discard)

    async def _check_owner(self, log: TaskLog) -> None:
        for delay_s in (0.0, *_CONFIRM_AFTER_S):
            await asyncio.sleep(delay_s)
            try:
                return await log.check_owner()
            except InfrastructureError as exc:  # at the latest the next append finds out
                self._log.debug("owner_not_confirmed", run_id=log.run_id, error=str(exc))

    async def handle(self, delivery: Delivery) -> None:
        """Work on one assignment; safe to repeat.

        Raises:
            SupersededError: another attempt owns the task.
            InfrastructureError: the log could not be read or appended to; the task continues when it is redelivered.
        """
        recorded = delivery.recorded
        if not isinstance(recorded.event, TaskAssigned):
            raise MalformedMessageError(f"{recorded.subject} is no assignment")
        log = TaskLog(self._store, recorded, f"agent-{self._agent_id}", now, _child(recorded))
        fresh = delivery.attempt == 1 and recorded.event.attempt == 1 and not recorded.event.resume
        if not fresh and not await self._load(log, recorded.position):
            return
        waited_s = time.time() - delivery.recorded_at_ns / 1e9
        doubtful = not fresh or waited_s > STALE_AFTER_S or log.run_id in self._announced
        if doubtful and await self._run_ended(log.run_id):
            return
        if not await self._begin(log, recorded.position):
            return
        began = time.perf_counter()
        outcome = await self._work(log)
        await log.deltas.finish()
        await log.append(outcome)
        self._log.info(
            "task_ended",
            agent_id=self._agent_id,
            task_id=log.assigned.task_id,
            outcome=_outcome_name(outcome),
            duration_s=round(time.perf_counter() - began, 3),
        )

    async def _load(self, log: TaskLog, position: int) -> bool:
        """Load a task that may have been begun, and return whether there is anything left to do.

        Raises:
            SupersededError: the instance that began it still works on it.
        """
        await log.load()
        if tasks.already_handled(log.state, log.assigned):
            return False
        holder = tasks.holder(log.state, log.assigned)
        if holder not in ("", self._instance) and await self._ask_standing(holder, position) == "held":
            raise SupersededError(f"instance {holder} works on task {log.assigned.task_id} of run {log.run_id}")
        return True

    async def _begin(self, log: TaskLog, position: int) -> bool:
        """Record the start, which makes this attempt the task's owner; return False if there is nothing left to do."""
        started = AgentInvokeStarted(
            agent=self._agent_id,
            instance=self._instance,
            attempt=log.assigned.attempt,
            resume=log.assigned.resume,
            sandbox=await self._contexts.sandbox_note(),
        )
        try:
            await log.begin(started)
        except RevisionConflictError:  # it was begun before: by a process that died, by another, or by this one
            if not await self._load(log, position):
                return False
            await log.begin(started)
        return True

    async def _work(self, log: TaskLog) -> Outcome:
        """Run the agent's function and return how the task ended, or what it waits for."""
        run_id, key = log.run_id, (log.run_id, log.assigned.task_id)
        context: TaskContext | None = None
        task: _Running | None = None
        try:
            context = await self._contexts.context(log)
            task = self._start(key, log, context)
            if run_id in self._announced:  # while this one was being prepared
                self._confirm_end(run_id)
            final = await task.work
        except asyncio.CancelledError:
            if log.superseded or run_id not in self._ended:  # another instance continues the task
                if task is not None:
                    task.work.cancel()
                    await asyncio.gather(task.work, return_exceptions=True)
                if log.superseded:
                    raise SupersededError(f"another attempt owns task {key[1]} of run {run_id}") from None
                raise
            return self._failed(log, "cancelled", "stopped with its run")
        except TaskPausedError as exc:
            return AgentInvokePaused(waits=exc.waits, attempt=log.assigned.attempt, resume=log.assigned.resume)
        except (ModelError, AgentFailedError) as exc:
            return self._failed(log, exc.code, str(exc), retryable=exc.retryable)
        except SyntorError:
            raise
        except Exception as exc:  # noqa: BLE001 - the agent's own code: its defect ends the task, not the service
            self._log.exception("agent_raised", agent_id=self._agent_id)
            return self._failed(log, "agent_error", f"{type(exc).__name__}: {exc}")
        finally:
            if task is not None and self._running.get(key) is task:
                del self._running[key]
            if not any(running == run_id for running, _ in self._running):
                self._ended.discard(run_id)
        return AgentInvokeDone(
            final_message=final,
            usage=context.usage,
            llm_calls=len(log.state.done),
            tool_calls=len(log.state.results),
            finish_reason=tasks.finish_reason(log.state, final),
        )

    def _start(self, key: tuple[str, str], log: TaskLog, context: TaskContext) -> _Running:
        """Start the agent's function; an earlier attempt of the task in this process is superseded."""
        if (earlier := self._running.get(key)) is not None:
            earlier.log.supersede()
        task = self._running[key] = _Running(log, asyncio.create_task(self._in_time(context)))
        log.on_superseded = task.work.cancel
        return task

    def _failed(self, log: TaskLog, code: str, message: str, *, retryable: bool = False) -> AgentInvokeFailed:
        return AgentInvokeFailed(
            code=clip(code, MAX_NAME),
            message=clip(redact(message)),
            retryable=retryable,
            partial_message=log.deltas.text,
            usage=tasks.total_usage(log.state),
        )

    async def _in_time(self, context: TaskContext) -> str:
        """Return the agent's answer, unless it takes longer than its manifest allows."""
        timeout_s = self._contexts.timeout_s
        limit = asyncio.timeout(timeout_s)
        try:
            async with limit:
                return await self._answer(context)
        except TimeoutError as exc:
            if not limit.expired():  # the agent's own
                raise
            raise AgentFailedError("timeout", f"{self._agent_id} took longer than {timeout_s:g} s") from exc

    async def _answer(self, context: TaskContext) -> str:
        result = self._invoke(context)
        if inspect.isawaitable(result):
            return await result
        async for piece in result:
            context.emit(piece)
        await context.log.deltas.finish()
        return context.log.deltas.text

    async def _run_ended(self, run_id: str) -> bool:
        filters = [subjects.event("run", run_id, type_) for type_ in sorted(TERMINAL_RUN_TYPES)]
        return bool(await self._store.last_of_each(filters))


def _outcome_name(outcome: Outcome) -> str:
    match outcome:
        case AgentInvokeDone():
            return "done"
        case AgentInvokePaused():
            return "paused"
        case AgentInvokeFailed(code=code):
            return code


def _child(recorded: Recorded) -> str:
    return child_traceparent(recorded.traceparent) if recorded.traceparent else ""
