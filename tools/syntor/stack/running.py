"""What other programs need to know of a home folder's stack: is it up, where, and bring it up if it is not.

Synchronous and cheap to import: every command calls this first.
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
from syntor.stack.identity import is_alive, kill_group, wait_gone
from syntor.stack.layout import Layout, home_folder
from syntor.stack.log_file import open_log, tail
from syntor.stack.options import Options, Outcome
from syntor.stack.state import READY, StackState, read_state

__all__ = ["call_stack", "ensure_running", "home_folder", "running_stack", "start_detached", "stop_stack"]

START_WAIT_S = 75.0  # above the supervisor's own limit
STOP_WAIT_S = 45.0  # 28 s for the services, 10 s for nats-server, and some
_LOOK_EVERY_S = 0.03
_ALREADY_RUNNING = 75  # supervisor.ALREADY_RUNNING, which is not worth loading asyncio for


def running_stack(home: Path) -> StackState | None:
    """Return what runs for the home folder, in whatever phase; None when its supervisor is not alive."""
    state = read_state(Layout(home).state)
    return state if state is not None and state.alive else None


def call_stack(state: StackState, method: str, path: str, timeout_s: float = 10.0) -> Any:
    """Ask the control endpoint and return the decoded JSON.

    Raises:
        NotReachableError: the supervisor does not answer, or refuses.
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
            f"the supervisor (pid {state.pid}) does not answer at {state.control_url}: {exc}"
        ) from exc
    finally:
        connection.close()
    answer = msgspec.json.decode(body)
    if response.status >= 400:
        raise NotReachableError(f"the supervisor refused {method} {path}: {answer.get('error', response.status)}")
    return answer


def ensure_running(home: Path, environ: Mapping[str, str] = os.environ) -> str:
    """Return the base URL of the API, starting the local stack when nothing runs for `home`.

    `SYNTOR_URL` names a Syntor elsewhere: it is returned as it is and nothing is started.

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

    When another one is starting or running for the same home folder, waits for that one instead.

    Raises:
        ConfigurationError: a service refused its configuration.
        NotReachableError: the stack is not ready in time, or could not start.
    """
    layout = Layout(Path(options.home))
    deadline = time.monotonic() + START_WAIT_S
    layout.create()
    while time.monotonic() < deadline:
        state = running_stack(layout.home)
        if state is not None and state.phase == READY:
            return state
        if state is not None:  # it starts, or it stops: the lock is its own until then
            time.sleep(_LOOK_EVERY_S)
            continue
        outcome = _start(options, layout, environ)
        if outcome.code == _ALREADY_RUNNING:
            time.sleep(_LOOK_EVERY_S)  # it starts or stops right now: look again
        elif not outcome.ready:
            raise ConfigurationError(outcome.message) if outcome.code == 3 else NotReachableError(outcome.message)
    raise NotReachableError(f"Syntor is not ready after {START_WAIT_S:g} s; see {layout.log_of('stack')}")


def stop_stack(home: Path) -> bool:
    """Stop the stack of a home folder and wait for its end; False when nothing ran.

    Raises:
        NotReachableError: it does not stop; names the process.
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
    """Start a supervisor and wait until it tells how that went."""
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
        told = file.read()
    if told:
        return msgspec.json.decode(told, type=Outcome)
    code = process.wait()
    reason = " / ".join(tail(layout.log_of("stack"), 3))
    return Outcome(ready=False, code=4, message=f"the supervisor ended with exit code {code}: {reason}")


def supervisor_command(options: Options) -> list[str]:
    """Return the command line of a supervisor."""
    return [sys.executable, "-P", "-m", "syntor.stack", msgspec.json.encode(options).decode()]
