"""Second instances of the services, connected through the fault-injecting proxy; one has a skewed clock.

They compete with the first instances for every trigger, task and turn, and are restarted when they exit.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from syntor.testing.local_stack import LocalStack

SERVICES = ("orchestrator", "projector", "agents.worker", "agents.coordination")
SKEWED = "orchestrator"
SKEWS = ("-90s", "+0s", "+45s", "+3600s")  # offsets the clock of the second orchestrator jumps to, in turn
_FAKETIME = (
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/faketime/libfaketime.so.1",
)
_POLL_S = 0.2
_STOP_S = 30.0


def find_faketime() -> str:
    """Return the path of libfaketime, which skews the clock of a process, or an empty text."""
    own = os.environ.get("SYNTOR_FAKETIME", "")
    return next((path for path in (own, *_FAKETIME) if path and Path(path).exists()), "")


class SecondInstances:
    """One second instance of each service in `SERVICES`."""

    def __init__(self, stack: LocalStack, nats_url: str) -> None:
        self._environ = stack.environ | {
            "SYNTOR_NATS_URL": nats_url,
            "SYNTOR_NATS_KEYS": str(stack.home / "nats-keys"),
            "SYNTOR_DATABASE_URL": stack.environ.get(
                "SYNTOR_DATABASE_URL", f"sqlite:///{stack.home}/data/readmodel.db"
            ),
            "SYNTOR_DURABILITY": "durable",
        }
        self._log = stack.home / "logs" / "second-instances.log"
        self._clock = stack.home / "clock"
        self._jumps = 0
        self.jump()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._instances: dict[str, str] = {}
        self._starts = 0
        self._killed: set[int] = set()
        self.exits: list[str] = []
        """A line for each process that ended without having been killed."""
        self._stopping = threading.Event()
        for name in SERVICES:
            self._start(name)
        self._thread = threading.Thread(target=self._restart_exited, daemon=True)
        self._thread.start()

    def process(self, name: str) -> tuple[int, str]:
        """Return process id and instance of one."""
        return self._processes[name].pid, self._instances[name]

    def kill(self, name: str) -> None:
        """Send SIGKILL to one; it is restarted."""
        self._killed.add(self._processes[name].pid)
        self._processes[name].kill()

    def jump(self) -> None:
        """Move the clock of the running second orchestrator; without libfaketime nothing happens."""
        self._clock.write_text(SKEWS[self._jumps % len(SKEWS)])
        self._jumps += 1

    def stop(self) -> list[str]:
        """Stop all gracefully; return a line for each that failed to."""
        self._stopping.set()
        self._thread.join(_STOP_S)
        for process in self._processes.values():
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + _STOP_S
        wrong: list[str] = []
        for name, process in self._processes.items():
            try:
                code = process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                wrong.append(f"second {name} did not stop within {_STOP_S:g} s")
                continue
            if code not in (0, -signal.SIGKILL, -signal.SIGTERM):
                wrong.append(f"second {name} ended with {code}")
        return wrong

    def _start(self, name: str) -> None:
        self._starts += 1
        self._instances[name] = f"second-{name.rpartition('.')[2]}-{self._starts}"
        environ = self._environ | {"SYNTOR_INSTANCE": self._instances[name]}
        if name == SKEWED and (library := find_faketime()):
            environ |= {"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": str(self._clock)}
            environ |= {"FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        with self._log.open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-P", "-m", f"syntor.{name}"],
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _restart_exited(self) -> None:
        while not self._stopping.wait(_POLL_S):
            for name, process in list(self._processes.items()):
                if (code := process.poll()) is not None:
                    if process.pid not in self._killed:
                        self.exits.append(f"second {name} ended with {code} and was not killed")
                    self._start(name)
