"""Fixtures: supervisors of stand-in services, each in a home folder of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from syntor.stack.layout import Layout
from syntor.stack.options import Options
from syntor.stack.running import call_stack, running_stack
from syntor.stack.state import ServiceState, StackState, read_state

HERE = Path(__file__).parent
DEADLINE_S = 30.0


class Supervised:
    """A supervisor process and its home folder."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.layout = Layout(home)
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, **environ: str) -> subprocess.Popen[str]:
        """Start a supervisor."""
        ports = {"http_port": 18420, "nats_port": 14230, "health_port": 18500}
        options = msgspec.json.encode(Options(home=str(self.home), durability="fast", **ports)).decode()  # type: ignore[arg-type]
        process = subprocess.Popen(
            [sys.executable, str(HERE / "supervised.py"), options],
            env={**os.environ, "PYTHONPATH": f"{HERE}{os.pathsep}{os.environ.get('PYTHONPATH', '')}", **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def ready(self) -> StackState:
        """Wait until the stack is ready and return its state."""
        return self.wait(lambda state: state.phase == "ready")

    def wait(self, question: Callable[[StackState], bool]) -> StackState:
        """Wait until the state file fulfils the condition."""
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            state = running_stack(self.home)
            if state is not None and question(state):
                return state
            time.sleep(0.02)  # polls another process
        pytest.fail(f"not within {DEADLINE_S} s; last state: {read_state(self.layout.state)}")

    def status(self) -> StackState:
        """Ask the control endpoint."""
        state = running_stack(self.home)
        assert state is not None
        return msgspec.convert(call_stack(state, "GET", "/status"), StackState)

    def end(self) -> None:
        """End whatever still runs."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.communicate(timeout=DEADLINE_S)


def service(state: StackState, name: str) -> ServiceState:
    """Return one service of a state."""
    return next(service for service in state.services if service.name == name)


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    """A supervisor that is not started yet."""
    found = Supervised(tmp_path / "home")
    yield found
    found.end()


@pytest.fixture
def of() -> Callable[[StackState, str], ServiceState]:
    """Finds a service in a state."""
    return service
