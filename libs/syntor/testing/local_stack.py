"""A whole local stack in a folder of its own, driven through the command line as a user would."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from syntor.jetstream.access import Access
from syntor.runtime.local_key import read_key
from syntor.runtime.private_files import make_private_folder

COMMAND_TIMEOUT_S = 60.0  # seconds; above the slowest start on a loaded machine
CONTROL_TIMEOUT_S = 30.0  # seconds; the supervisor probes every service, on a loaded machine
HOMES: dict[str, Path] = {}
"""Homes of the stacks this process has started, by the URLs of their APIs."""

DEFAULT_SCRIPT = "rules:\n  - text: The scripted answer.\n"
_LATE_REPLY = re.compile(
    r'Publish Violation - Subject "_INBOX'
)  # the permission to reply ends, the caller has timed out


def headers_of_home(home: Path) -> dict[str, str]:
    """Return what clients of the local user of a home send."""
    key = read_key(home)
    return {"Authorization": f"Bearer {key}"} if key else {}


def headers_of(url: str) -> dict[str, str]:
    """Return what clients of a stack that this process has started send; none for any other server."""
    home = HOMES.get(url)
    return {} if home is None else headers_of_home(home)


class LocalStack:
    """`syntor up` in a home of its own, with the scripted model unless told otherwise."""

    def __init__(self, home: Path, *, script: str = DEFAULT_SCRIPT, environ: dict[str, str] | None = None) -> None:
        self.home = home
        make_private_folder(home)
        self.script = home / "script.yaml"
        self.script.write_text(script)
        self.environ = {key: value for key, value in os.environ.items() if not key.startswith("SYNTOR_")} | {
            "SYNTOR_HOME": str(home),
            "SYNTOR_INFERENCE_PROVIDER": "scripted",
            "SYNTOR_SCRIPT": str(self.script),
            "NO_COLOR": "1",
            **(environ or {}),
        }
        self.url = ""
        self.nats_url = ""
        self.ready_s = 0.0
        """Seconds from `up` to every service ready."""

    @property
    def headers(self) -> dict[str, str]:
        """What the local user's clients send."""
        return headers_of_home(self.home)

    @property
    def admin(self) -> Access:
        """What may do everything on this stack's NATS."""
        return Access(nkey=str(self.home / "nats-keys" / "admin.nk"))

    def up(self, *arguments: str) -> None:
        """Start the stack and wait until it is ready.

        Raises:
            RuntimeError: it did not come up; the text has what it said.
        """
        started = time.perf_counter()
        done = self.syntor("up", "--detach", *arguments)
        self.ready_s = time.perf_counter() - started
        if done.returncode != 0:
            raise RuntimeError(f"syntor up ended with {done.returncode}: {done.stderr}")
        status = self.status()
        self.url, self.nats_url = status["url"], status["nats_url"]
        HOMES[self.url] = self.home

    def down(self) -> None:
        """Stop the stack.

        Raises:
            RuntimeError: NATS refused a service something it wanted to do.
        """
        self.syntor("down")
        log = self.home / "logs" / "nats.log"
        lines = log.read_text().splitlines() if log.exists() else []
        refused = [line for line in lines if "Violation" in line and not _LATE_REPLY.search(line)]
        if refused:
            raise RuntimeError(f"NATS refused {len(refused)} times, first: {refused[0]}")

    def status(self) -> dict[str, Any]:
        """Return the state of the stack, from its supervisor: the fields of `syntor status -o json`, and more.

        Raises:
            OSError: it does not run.
        """
        state = json.loads((self.home / "run" / "stack.json").read_bytes())
        connection = http.client.HTTPConnection(state["control_url"].removeprefix("http://"), timeout=CONTROL_TIMEOUT_S)
        try:
            connection.request("GET", "/status", headers={"Authorization": f"Bearer {state['token']}"})
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return answer

    def service(self, name: str) -> dict[str, Any]:
        """Return the status of one service."""
        return next(service for service in self.status()["services"] if service["name"] == name)

    def kill(self, name: str) -> int:
        """Send SIGKILL to a service and return the pid it had."""
        pid: int = self.service(name)["pid"]
        os.kill(pid, signal.SIGKILL)
        return pid

    def syntor(
        self, *arguments: str, stdin: str | None = None, timeout_s: float = COMMAND_TIMEOUT_S, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run one `syntor` command and return how it ended."""
        return subprocess.run(
            [sys.executable, "-m", "syntor.cli.main", *arguments],
            env=self.environ,
            cwd=cwd,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )

    def __enter__(self) -> LocalStack:
        """Start the stack."""
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the stack."""
        self.down()
