"""An event loop on a simulated clock: when nothing is ready, time jumps to the next timer. No threads, no sockets.

Every callback belongs to a process of the simulated world, the one whose callback scheduled it. A crashed process runs
nothing any more; a stalled one runs nothing until it resumes, while the world continues. Order and times depend on the
seed only: tasks and futures have a hash of their own, so that a set of them is iterated in the order of their creation.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import sys
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterable
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")
START_S = 1_795_000_000.0  # the clock begins in November 2026
_LIVELOCK = 1_000_000  # callbacks after which the clock must have moved
THREAD_S = 0.0005  # what a call in another thread takes


class DeadlineError(Exception):
    """The simulated time is up."""


class SimulatedProcess:
    """A process of the simulated world, as the loop sees it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.stalled_until = 0.0
        """Loop time until which none of its callbacks runs."""
        self.skew_s = 0.0
        """What its wall clock is ahead."""
        self.deferred: list[_Handle] = []
        """Callbacks that became due during a stall."""
        self.tasks: list[asyncio.Task[Any]] = []
        """Every task it started; they are kept until the world ends, so that a crash runs no `finally`."""


class _Handle(asyncio.Handle):
    """A callback of a process."""

    __slots__ = ("_due", "process")

    def __init__(
        self,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: SimulatedLoop,
        context: contextvars.Context | None,
        process: SimulatedProcess,
        due: float,
    ) -> None:
        # not the base class's: it looks up a stack in debug mode and copies the context twice
        self._loop = loop
        self._callback = callback
        self._args = args
        self._cancelled = False
        self._repr = None
        self._context = contextvars.copy_context() if context is None else context
        self.process = process
        self._due = due

    def cancel(self) -> None:
        self._cancelled = True

    def invoke(self) -> None:
        """Run the callback in its context."""
        self._context.run(self._callback, *self._args)

    def __repr__(self) -> str:
        return repr(self._callback)

    def when(self) -> float:
        """Return the loop time it is due at."""
        return self._due


class _Future(asyncio.Future[Any]):
    """A future whose hash is its number."""

    def __init__(self, *, loop: SimulatedLoop) -> None:
        loop.created += 1
        self._number = loop.created
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._number


class _Task(asyncio.Task[Any]):
    """A task whose hash is its number."""

    def __init__(self, coro: Coroutine[Any, Any, Any], loop: SimulatedLoop, **options: Any) -> None:
        loop.created += 1
        self._number = loop.created
        super().__init__(coro, loop=loop, **options)

    def __hash__(self) -> int:
        return self._number


class SimulatedLoop(asyncio.BaseEventLoop):
    """Runs the callbacks of all processes in one thread, on a simulated clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        """Loop time, seconds since the world began."""
        self.world = SimulatedProcess("world")
        """Owns what belongs to no process: the network, the server."""
        self.current = self.world
        """Process whose callback runs."""
        self.created = 0
        self.problems: list[str] = []
        """What reached the exception handler of the loop."""
        self._queue: deque[_Handle] = deque()
        self._heap: list[tuple[float, int, _Handle]] = []
        self._count = 0

    # time

    def time(self) -> float:
        """Return the simulated time, seconds since the world began."""
        return self.now

    def wall(self) -> float:
        """Return the wall clock of the current process, seconds since 1970."""
        return START_S + self.now + self.current.skew_s

    # callbacks

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> _Handle:
        """Run a callback of the current process as soon as possible, in order."""
        handle = _Handle(callback, args, self, context, self.current, self.now)
        self._queue.append(handle)
        return handle

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> Any:
        """Run a callback of the current process at a time."""
        return self.call_in(self.current, when, callback, *args, context=context)

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> Any:
        """Run a callback of the current process after a while."""
        return self.call_in(self.current, self.now + delay, callback, *args, context=context)

    def call_in(
        self,
        process: SimulatedProcess,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> _Handle:
        """Schedule a callback of another process."""
        handle = _Handle(callback, args, self, context, process, when)
        self._count += 1
        heapq.heappush(self._heap, (when, self._count, handle))
        return handle

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> _Handle:
        """Run a callback as soon as possible; there is one thread."""
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """Call a function now and complete the future a little later, as a thread would."""
        future: asyncio.Future[T] = self.create_future()

        def complete(result: T | None, error: BaseException | None) -> None:
            if future.cancelled():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]

        try:
            result, error = func(*args), None
        except Exception as exc:  # noqa: BLE001 - it belongs to the caller that awaits the future
            result, error = None, exc
        self.call_later(THREAD_S, complete, result, error)
        return future

    # futures and tasks

    def create_future(self) -> asyncio.Future[Any]:
        """Return a new future."""
        return _Future(loop=self)

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        """Start a coroutine as a task of the current process."""
        task = _Task(coro, self, **options)
        self.current.tasks.append(task)
        return task

    def get_debug(self) -> bool:
        """Return False."""
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Record what a callback raised, or what a task raised that no one awaits."""
        if self.current.alive:
            exc = context.get("exception")
            where = "".join(traceback.format_exception(exc)[-3:]) if exc is not None else ""
            self.problems.append(f"{self.current.name}: {context.get('message')}: {exc!r} {where}")

    # processes

    def spawn(self, process: SimulatedProcess, coro: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a coroutine as a task of a process."""
        with self.acting_as(process):
            return self.create_task(coro, context=contextvars.Context())

    @contextmanager
    def acting_as(self, process: SimulatedProcess) -> Generator[None, None, None]:
        """Let what is scheduled inside belong to a process."""
        before, self.current = self.current, process
        try:
            yield
        finally:
            self.current = before

    def stall(self, process: SimulatedProcess, seconds: float) -> None:
        """Run no callback of a process for some time."""
        until = self.now + seconds
        if process.alive and until > process.stalled_until:
            process.stalled_until = until
            self.call_in(self.world, until, self._resume, process)

    def _resume(self, process: SimulatedProcess) -> None:
        if process.stalled_until <= self.now:
            self._queue.extend(process.deferred)
            process.deferred = []

    # running

    def run(self, coro: Coroutine[Any, Any, T], *, limit_s: float) -> T:
        """Run until a coroutine of the world is done.

        Raises:
            DeadlineError: the simulated time reached the limit before.
        """
        asyncio.events._set_running_loop(self)
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=None, finalizer=_forget)
        try:
            main = self.spawn(self.world, coro)
            self._run(main, limit_s)
            return main.result()
        finally:
            sys.set_asyncgen_hooks(*hooks)
            asyncio.events._set_running_loop(None)

    def _run(self, main: asyncio.Task[Any], limit_s: float) -> None:
        queue, heap, steps = self._queue, self._heap, 0
        while not main.done():
            steps += 1
            if not queue:
                if not heap:
                    raise DeadlineError("nothing is left to happen")
                when, _, handle = heapq.heappop(heap)
                if handle._cancelled:
                    continue
                if when > self.now:
                    self.now, steps = when, 0
                    if when > limit_s:
                        raise DeadlineError(f"no end after {limit_s:g} simulated seconds")
            else:
                handle = queue.popleft()
                if handle._cancelled:
                    continue
            process = handle.process
            if steps > _LIVELOCK:
                raise DeadlineError(f"{_LIVELOCK} callbacks at one instant, {process.name}: {handle!r}")
            if not process.alive:
                continue
            if process.stalled_until > self.now:
                process.deferred.append(handle)
                continue
            self.current = process
            try:
                handle.invoke()
            except Exception as exc:  # noqa: BLE001 - as every event loop: it ends this callback only
                self.call_exception_handler({"message": f"{handle!r} raised", "exception": exc})
        self.current = self.world

    def end(self, processes: Iterable[SimulatedProcess]) -> None:
        """Close the coroutines of all processes, whatever their clean-up raises; nothing can happen any more."""
        processes = [self.world, *processes]
        for process in processes:
            process.alive = False
        self.current = self.world
        asyncio.events._set_running_loop(self)  # a clean-up may start tasks: they are closed too
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # what a clean-up awaits is never awaited
                while tasks := [task for process in processes for task in process.tasks]:
                    for process in processes:
                        process.tasks = []
                    for task in tasks:
                        _close(task)
        finally:
            asyncio.events._set_running_loop(None)
            self._queue.clear()
            self._heap.clear()
            self.close()


def _close(task: asyncio.Task[Any]) -> None:
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    if not task.done():
        coro: Any = task.get_coro()
        try:
            coro.close()
        except BaseException:  # noqa: BLE001 - "coroutine ignored GeneratorExit": it awaits in its clean-up
            del coro


def _forget(_: object) -> None:
    """Let an asynchronous generator end with its process."""
