"""The state file: processes and addresses of a running stack, and the token of its control endpoint.

Replaced atomically, so a reader sees the old or the new one.
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
    """0: not running."""
    state: str = "stopped"
    """starting, ready, not ready, restarting, stopping, stopped or failed."""
    health_url: str = ""
    restarts: int = 0
    """Number of restarts since the stack was started."""
    mark: str = ""
    """Identifies the process among those with its id (`identity.started_mark`)."""
    detail: str = ""
    """Why it is not ready, if known."""


class StackState(msgspec.Struct, kw_only=True):
    """The stack of one supervisor."""

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
    log_folder: str = ""
    """nats-server's store; empty: the server is external."""
    durability: str = "durable"
    """durable: every acknowledged event is on disk; fast: synced every 100 ms; external: set on that server."""
    model: str = ""
    """Model of the coordination agent when the stack was started, `provider/name`."""
    overrides: dict[str, str] = {}
    """Environment variables given on the command line, which override the configuration file."""
    phase: str = STARTING
    """starting, ready or stopping."""
    ready_s: float = 0.0
    """Seconds from start to ready."""
    notices: list[str] = []
    """Deviations for the user: other ports, orphaned processes killed."""
    services: list[ServiceState] = []

    @property
    def alive(self) -> bool:
        """Return whether the supervisor that wrote this still runs."""
        return is_alive(self.pid, self.mark)


def write_state(path: Path, state: StackState) -> None:
    """Replace the state file; only its owner may read it."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(state), indent=1))
    temporary.replace(path)


def read_state(path: Path) -> StackState | None:
    """Return the state last written; None when there is none, or it is unreadable."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=StackState)
    except (OSError, *UNDECODABLE):
        return None
