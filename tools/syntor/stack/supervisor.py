"""The supervisor: starts nats-server and the services of one home folder, restarts and stops them in order.

One per home folder, ensured by a file lock. It loads only asyncio and msgspec, so that it stays small.
Exit codes: 0 stopped on request, 1 start failed, 2 another one holds the lock (75 when detached: the starting process
then waits for that one), 3 configuration, 4 not reachable.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from syntor.contracts.errors import ConfigurationError, NotReachableError
from syntor.runtime.disk import no_room
from syntor.runtime.local_key import ensure_key
from syntor.stack import banner, store_watch
from syntor.stack.child import Child
from syntor.stack.control import Actions, Control
from syntor.stack.identity import started_mark
from syntor.stack.launches import Launches
from syntor.stack.layout import Layout
from syntor.stack.leftovers import remove_leftovers
from syntor.stack.log_file import rotate, tail
from syntor.stack.log_guard import LogGuard
from syntor.stack.model_server import ModelServer
from syntor.stack.options import Options, Outcome
from syntor.stack.services import NATS, SERVICES, USER_DEFINED, ServiceSpec
from syntor.stack.spawn import describe_exit, exited, spawn
from syntor.stack.state import READY, STOPPING, StackState, write_state
from syntor.stack.store_watch import StoreWatch

ALREADY_RUNNING = 75  # EX_TEMPFAIL of sysexits.h
START_TIMEOUT_S = 60.0  # starting eleven processes takes long on a loaded machine
SERVICE_STOP_S = 28.0  # above the 25 s of the services' own drain timeout
NATS_STOP_S = 10.0
_ROTATE_EVERY_S = 10.0
_TRUSTED = "trusted.yaml"  # as in `syntor.configuration.trust`, which is loaded only when needed
_MANIFEST_POLL_S = 1.0


class _StartFailed(Exception):  # noqa: N818 - ends the start with a code and a reason
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def _has_manifests(home: Path) -> bool:
    if not any((home / name).exists() for name in ("agents", _TRUSTED)):
        return False
    from syntor.configuration.trust import manifest_files  # loaded only where manifests may exist, to save memory

    return bool(manifest_files(home))


class Supervisor:
    """Runs one stack, from start to stop."""

    def __init__(self, options: Options, environ: Mapping[str, str], specs: Sequence[ServiceSpec] = SERVICES) -> None:
        self._options = options
        self._layout = Layout(Path(options.home))
        self._specs = [spec for spec in specs if not options.services or spec.name in options.services]
        self._stop = asyncio.Event()
        self._failed: asyncio.Future[_StartFailed] = asyncio.get_running_loop().create_future()
        self._children: dict[str, Child] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._state = StackState(
            pid=os.getpid(),
            mark=started_mark(os.getpid()),
            home=options.home,
            token=os.urandom(32).hex(),
            data=str(self._layout.data),
            log_folder="" if options.nats_url else str(self._layout.nats_store),
            durability="external" if options.nats_url else options.durability,
            model=options.model,
            overrides=options.overrides,
        )
        self._guard = LogGuard(self._layout.nats_store, self._log)
        self._reported = False
        self._unwritable = False
        user_mask = os.umask(0o077)  # whatever the services write in the home folder is its owner's alone
        self._launches = Launches(options, environ, self._state, user_mask)
        self._models = ModelServer(
            self._layout.home, self._layout.log_of("model-server"), self._launches.inherited, self._save
        )
        actions = Actions(self._status, self.stop, self._restart, self._start_service, self._models.lines)
        self._control = Control(self._state.token, actions)

    def stop(self) -> None:
        """Request a graceful stop; a second request kills everything."""
        if self._stop.is_set():
            for child in self._children.values():
                child.kill()
            self._models.kill()
        self._stop.set()

    async def run(self) -> int:
        """Run until stopped; return the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self.stop)
        began = time.monotonic()
        try:
            for text in self._layout.create():
                self._state.notices.append(text)
                self._log(text)
            with self._layout.lock.open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                try:
                    await self._start(began)
                    await self._stop.wait()
                finally:
                    await self._stop_all()
                    self._layout.state.unlink(missing_ok=True)
        except BlockingIOError:
            detached = self._options.ready_fd >= 0
            message = f"a stack already runs for {self._layout.home}; see it: syntor status"
            return self._report(ALREADY_RUNNING if detached else 2, message)
        except _StartFailed as exc:
            return self._report(exc.code, str(exc))
        except ConfigurationError as exc:
            return self._report(3, str(exc))
        except NotReachableError as exc:
            return self._report(4, str(exc))
        except OSError as exc:  # a file of the home folder, on a disk that is full, read-only or gone
            return self._report(4, f"home folder {self._layout.home}: {exc}")
        return 0

    async def _start(self, began: float) -> None:
        """Start everything and wait until all of it is ready.

        Raises:
            _StartFailed: a process exited in a way that a restart cannot fix, or is not ready in time.
        """
        self._state.notices += remove_leftovers(self._layout)
        if tightened := self._layout.tighten():
            self._state.notices.append(tightened)
        ensure_key(self._layout.home)
        self._state.control_url = await self._control.serve()
        self._launches.choose_addresses()
        self._save()
        if not self._options.nats_url:
            for text in await self._guard.open():
                self._state.notices.append(text)
                self._log(text)
        self._tasks |= {asyncio.create_task(self._rotate_logs()), asyncio.create_task(self._watch_manifests())}
        topology = self._launches.topology()
        if not self._options.nats_url:
            if full := no_room(str(self._layout.nats_store)):
                raise _StartFailed(4, full)
            self._supervise(NATS)
            if self._guard.compares:
                await self._compare_log()
            self._tasks.add(asyncio.create_task(self._watch_store()))
        self._tasks.add(asyncio.create_task(self._save_again()))
        applying = asyncio.create_task(self._apply_topology())
        if topology.is_new:
            await self._first(applying)
        for spec in self._specs:
            if not spec.on_demand:
                self._supervise(spec.name)
        await self._first(asyncio.create_task(self._all_ready(applying)))
        if self._stop.is_set():
            return
        topology.mark_applied()
        self._state.ready_s = round(time.monotonic() - began, 2)
        self._state.phase = READY
        self._save()
        if not self._options.detached:
            sys.stdout.write(banner.render(self._state, self._options.version, foreground=True))
            sys.stdout.flush()
        self._report(0, "")

    async def _compare_log(self) -> None:
        """Let the guard compare the log once nats-server is ready, before anything connects to it."""
        nats = self._children[NATS]
        await self._first(asyncio.ensure_future(nats.ready.wait()))
        if not self._stop.is_set():
            await self._guard.compare(nats.port, lambda: nats.stop(NATS_STOP_S))

    async def _all_ready(self, applying: asyncio.Task[None]) -> None:
        await applying
        for child in list(self._children.values()):  # services requested meanwhile are not waited for
            await child.ready.wait()

    async def _first(self, work: asyncio.Future[Any]) -> None:
        """Wait for `work`, for a failure that ends the start, or for a stop request, whichever is first.

        Raises:
            _StartFailed: there was a failure, or none of it in time.
        """
        stopping = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait({work, self._failed, stopping}, timeout=START_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if self._failed.done():
            work.cancel()
            raise self._failed.result()
        if work.done():
            work.result()
        elif self._stop.is_set():
            work.cancel()
        else:
            work.cancel()
            raise _StartFailed(4, self._not_ready())

    async def _apply_topology(self) -> None:
        log = self._layout.log_of("topology")
        process = spawn(self._launches.apply(), log)
        code = await exited(process)
        if code != 0 and not self._stop.is_set():
            reason = " / ".join(tail(log, 3))
            raise _StartFailed(4, f"streams could not be applied ({describe_exit(code)}): {reason}")

    def _supervise(self, name: str) -> None:
        launch = self._launches.nats if name == NATS else self._launches.service(self._spec(name))
        child = Child(name, launch, self._layout.log_of(name), changed=self._save, on_exit=self._on_exit)
        self._children[name] = child
        self._state.services.append(child.state)
        supervising = asyncio.create_task(child.supervise())
        self._tasks.add(supervising)

    def _spec(self, name: str) -> ServiceSpec:
        return next(spec for spec in self._specs if spec.name == name)

    def _on_exit(self, child: Child, code: int) -> None:
        """Log the exit of a process; a configuration error ends the start."""
        last = "\n".join(f"    {line}" for line in child.last_log_lines(5))
        self._log(f"{child.name} exited ({describe_exit(code)}) and is restarted; its last lines:\n{last}")
        if self._state.phase == READY or self._failed.done():
            return
        if self._launches.lost_port(child.name):
            if child.name == NATS:  # services know its address already, and it may be another program's server
                message = f"another program took the port of {self._state.nats_url} during the start; start again"
                self._failed.set_result(_StartFailed(4, message))
        elif code == 3:
            errors = [line for line in child.last_log_lines(5) if line.startswith("error: ")]
            message = errors[-1].removeprefix("error: ") if errors else f"see {child.log}"
            self._failed.set_result(_StartFailed(3, f"{child.name}: {message}"))

    def _not_ready(self) -> str:
        lines = [f"not ready within {START_TIMEOUT_S:g} s:"]
        for child in self._children.values():
            if not child.ready.is_set():
                lines.append(
                    f"  {child.name}: {child.state.state}, {child.state.detail or 'no response'}; log {child.log}"
                )
                lines += [f"    {line}" for line in child.last_log_lines(3)]
        return "\n".join(lines)

    async def _status(self) -> StackState:
        await asyncio.gather(*(child.probe() for child in self._children.values()))
        return self._state

    async def _restart(self, name: str) -> bool:
        child = self._children.get(name)
        if child is None:
            return False
        await child.restart(NATS_STOP_S if name == NATS else SERVICE_STOP_S)
        return True

    def _start_service(self, name: str) -> bool:
        if name not in self._children:
            if not any(spec.name == name for spec in self._specs) or self._stop.is_set():
                return False
            self._supervise(name)
            self._save()
        return True

    async def _stop_all(self) -> None:
        """Stop the services concurrently, then nats-server, through which they nak their messages."""
        self._state.phase = STOPPING
        self._save()
        services = [child for child in self._children.values() if child.name != NATS]
        await asyncio.gather(self._models.stop(), *(child.stop(SERVICE_STOP_S) for child in services))
        if NATS in self._children:
            await self._children[NATS].stop(NATS_STOP_S)
            await self._guard.close()
        self._control.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _rotate_logs(self) -> None:
        while True:
            await asyncio.sleep(_ROTATE_EVERY_S)
            for path in self._layout.logs.glob("*.log"):
                with contextlib.suppress(OSError):  # no space for the copy; retried next time
                    rotate(path)

    async def _watch_store(self) -> None:
        """Restart nats-server when it refuses messages although the disk of its store has room again."""
        watch = StoreWatch(self._layout.log_of(NATS), self._layout.nats_store)
        while True:
            await asyncio.sleep(store_watch.CHECK_EVERY_S)
            if await asyncio.to_thread(watch.needs_restart):
                self._log("nats-server refuses to write its store, whose disk has room again: it is restarted")
                await self._restart(NATS)

    async def _save_again(self) -> None:
        """Write the state file once its disk has room again."""
        while True:
            await asyncio.sleep(store_watch.CHECK_EVERY_S)
            if self._unwritable:
                self._save()

    async def _watch_manifests(self) -> None:
        """Start the service of user-defined agents once there is a manifest."""
        problem = ""
        while True:
            try:
                if await asyncio.to_thread(_has_manifests, self._layout.home):
                    self._start_service(USER_DEFINED)
                    return
            except ConfigurationError as exc:
                if problem != str(exc):
                    problem = str(exc)
                    self._log(problem)
            await asyncio.sleep(_MANIFEST_POLL_S)

    def _save(self) -> None:
        extra = [self._models.state] if self._models.state.state != "stopped" else []
        known = [child.state for child in self._children.values()]
        self._state.services = known + extra
        try:
            write_state(self._layout.state, self._state)
        except OSError as exc:  # a full disk must not end the supervision
            if not self._unwritable:
                self._log(f"{self._layout.state} cannot be written: {exc.strerror}; syntor status may be out of date")
            self._unwritable = True
        else:
            self._unwritable = False

    def _log(self, text: str) -> None:
        with contextlib.suppress(OSError):  # the disk of the log is full: what is logged must continue
            sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
            sys.stderr.flush()

    def _report(self, code: int, message: str) -> int:
        """Report the outcome of the start, once, to the starting process; return the exit code."""
        if message:
            sys.stderr.write(f"error: {message}\n")
        if self._options.ready_fd >= 0 and not self._reported:
            outcome = Outcome(ready=code == 0, code=code, message=message)
            try:
                os.write(self._options.ready_fd, msgspec.json.encode(outcome))
                os.close(self._options.ready_fd)
            except OSError:
                pass  # the starting process has exited; the stack continues
            self._reported = True
        return code
