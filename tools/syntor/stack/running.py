"""Finds, starts and stops the stack of a home folder.

Synchronous and cheap to import, because every command calls it first.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from syntor.contracts.errors import ConfigurationError, NotReachableError
from syntor.runtime.disk import no_room
from syntor.stack.identity import is_alive, kill_group, wait_gone
from syntor.stack.layout import Layout, home_folder
from syntor.stack.log_file import open_log, tail
from syntor.stack.options import Options, Outcome
from syntor.stack.state import READY, StackState, read_state

__all__ = ["call_stack", "ensure_running", "home_folder", "running_stack", "start_detached", "stop_stack"]

START_WAIT_S = 75.0  # above the supervisor's own timeout
STOP_WAIT_S = 45.0  # 28 s for the services, 10 s for nats-server, and a margin
_POLL_S = 0.03
_ALREADY_RUNNING = 75  # supervisor.ALREADY_RUNNING, which is not worth loading asyncio for


def running_stack(home: Path) -> StackState | None:
    """Return the stack of the home folder in any phase; None when its supervisor does not run."""
    state = read_state(Layout(home).state)
    return state if state is not None and state.alive else None


def call_stack(state: StackState, method: str, path: str, timeout_s: float = 10.0) -> Any:
    """Call the control endpoint and return the decoded JSON.

    Raises:
        NotReachableError: the supervisor is unreachable, or refuses the request.
    """
    import http.client

    host = state.control_url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=timeout_s)
    try:
        connection.request(method, path, headers={"Authorization": f"Bearer {state.token}"})
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException) as exc:
        raise NotReachableError(
            f"the supervisor (pid {state.pid}) is not reachable at {state.control_url}: {exc}"
        ) from exc
    finally:
        connection.close()
    reply: Any = msgspec.json.decode(body)
    if response.status >= 400:
        raise NotReachableError(f"the supervisor refused {method} {path}: {reply.get('error', response.status)}")
    return reply


def ensure_running(home: Path, environ: Mapping[str, str] = os.environ) -> str:
    """Return the base URL of the API, starting the local stack when nothing runs for `home`.

    `SYNTOR_URL` names another server: it is returned and nothing is started.

    Raises:
        ConfigurationError: the configuration does not allow a start.
        NotReachableError: the stack could not be started.
    """
    if url := environ.get("SYNTOR_URL", ""):
        if not url.startswith(("http://", "https://")):
            raise ConfigurationError(f"SYNTOR_URL={url!r}: expected http://host:port or https://host")
        return url.rstrip("/")
    state = running_stack(home)
    if state is not None and state.phase == READY:
        return state.url
    from syntor.stack.prepare import prepare

    options = prepare(home, environ)
    sys.stderr.write("starting Syntor ...\n" if state is None else "waiting for Syntor to be ready ...\n")
    sys.stderr.flush()
    return start_detached(options, environ).url


def start_detached(options: Options, environ: Mapping[str, str] = os.environ) -> StackState:
    """Start a supervisor in the background and return its state once all of the stack is ready.

    When another supervisor of the home folder is starting or running, waits for that one instead.

    Raises:
        ConfigurationError: a service refused its configuration.
        NotReachableError: the stack is not ready in time, or could not start.
    """
    layout = Layout(Path(options.home))
    deadline = time.monotonic() + START_WAIT_S
    for text in layout.create():
        sys.stderr.write(f"note: {text}\n")
    if running_stack(layout.home) is None and (full := no_room(str(layout.home))):
        raise NotReachableError(full)
    while time.monotonic() < deadline:
        state = running_stack(layout.home)
        if state is not None and state.phase == READY:
            return state
        if state is not None:  # starting or stopping; it holds the lock until then
            time.sleep(_POLL_S)
            continue
        outcome = _start(options, layout, environ)
        if outcome.code == _ALREADY_RUNNING:
            time.sleep(_POLL_S)  # another one is starting or stopping
        elif not outcome.ready:
            raise ConfigurationError(outcome.message) if outcome.code == 3 else NotReachableError(outcome.message)
    raise NotReachableError(f"Syntor is not ready after {START_WAIT_S:g} s; see {layout.log_of('stack')}")


def stop_stack(home: Path) -> bool:
    """Stop the stack of a home folder and wait until it has exited; False when nothing ran.

    Raises:
        NotReachableError: the supervisor does not stop; names its process.
    """
    layout = Layout(home)
    state = read_state(layout.state)
    if state is None:
        return False
    if not state.alive:
        left = [service for service in state.services if kill_group(service.pid, service.mark)]
        layout.state.unlink(missing_ok=True)
        return bool(left)
    try:
        call_stack(state, "POST", "/down")
    except NotReachableError:
        if is_alive(state.pid, state.mark):
            os.kill(state.pid, signal.SIGTERM)
    if not wait_gone(state.pid, state.mark, STOP_WAIT_S):
        raise NotReachableError(f"the supervisor (pid {state.pid}) did not stop within {STOP_WAIT_S:g} s")
    return True


def _start(options: Options, layout: Layout, environ: Mapping[str, str]) -> Outcome:
    """Start a supervisor and wait for the outcome it reports."""
    reading, writing = os.pipe()
    started = msgspec.structs.replace(options, detached=True, ready_fd=writing)
    log = open_log(layout.log_of("stack"))
    try:
        process = subprocess.Popen(
            supervisor_command(started),
            env=dict(environ),
            cwd=layout.home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(writing,),
            start_new_session=True,
        )
    finally:
        os.close(writing)
        os.close(log)
    with os.fdopen(reading, "rb") as file:
        report = file.read()
    if report:
        return msgspec.json.decode(report, type=Outcome)
    code = process.wait()
    reason = " / ".join(tail(layout.log_of("stack"), 3))
    return Outcome(ready=False, code=4, message=f"the supervisor exited with code {code}: {reason}")


def supervisor_command(options: Options) -> list[str]:
    """Return the command line of a supervisor."""
    return [sys.executable, "-P", "-m", "syntor.stack", msgspec.json.encode(options).decode()]
