"""The state file: what runs for a home folder, where to reach it, and the token of its control endpoint.

Written whole and swapped in, so a reader sees the old or the new one, never half of one.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from syntor.contracts.decoding import UNDECODABLE
from syntor.stack.identity import is_alive

STARTING, READY, STOPPING = "starting", "ready", "stopping"


class ServiceState(msgspec.Struct, kw_only=True):
    """One supervised process."""

    name: str
    pid: int = 0
    """0: not running at the moment."""
    state: str = "stopped"
    """starting, ready, not ready, restarting, stopping, stopped or failed."""
    health_url: str = ""
    restarts: int = 0
    """Times it was started again since the stack came up."""
    mark: str = ""
    """Which life of the process id this is (`identity.started_mark`)."""
    detail: str = ""
    """Why it is not ready, if known."""


class StackState(msgspec.Struct, kw_only=True):
    """What one supervisor runs."""

    pid: int
    mark: str
    home: str
    token: str
    """Bearer token of the control endpoint."""
    control_url: str = ""
    url: str = ""
    """Base URL of the HTTP API."""
    nats_url: str = ""
    data: str = ""
    durability: str = "durable"
    """durable: every acknowledged event is on disk; fast: synced every 100 ms; external: not ours to say."""
    model: str = ""
    """Model of the coordination agent when the stack came up, `provider/name`."""
    overrides: dict[str, str] = {}
    """Environment variables given on the command line, which win over the configuration file."""
    phase: str = STARTING
    """starting, ready or stopping."""
    ready_s: float = 0.0
    """Seconds from start to ready."""
    notices: list[str] = []
    """What differs from the usual: ports taken, leftovers removed."""
    services: list[ServiceState] = []

    @property
    def alive(self) -> bool:
        """Whether the supervisor that wrote this still runs."""
        return is_alive(self.pid, self.mark)


def write_state(path: Path, state: StackState) -> None:
    """Replace the state file; only its owner may read it."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(state), indent=1))
    temporary.replace(path)


def read_state(path: Path) -> StackState | None:
    """Return the state last written, whoever wrote it; None when there is none that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=StackState)
    except (OSError, *UNDECODABLE):
        return None
