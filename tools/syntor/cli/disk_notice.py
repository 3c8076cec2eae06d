"""Says that the local log's disk is full while a run is followed, which then waits in silence for room."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager

from syntor.runtime.disk import no_room
from syntor.stack.layout import home_folder
from syntor.stack.running import running_stack

_EVERY_S = 1.0


@contextmanager
def disk_notice() -> Generator[None, None, None]:
    """Print one line to standard error when the disk becomes full, and one when there is room again."""
    state = None if os.environ.get("SYNTOR_URL") else running_stack(home_folder(os.environ))
    if state is None or not state.log_folder:
        yield
        return
    done = threading.Event()
    watching = threading.Thread(target=_watch, args=(state.log_folder, done), daemon=True)
    watching.start()
    try:
        yield
    finally:
        done.set()
        watching.join()


def _watch(folder: str, done: threading.Event) -> None:
    was_full = False
    while not done.wait(_EVERY_S):
        full = no_room(folder)
        if full and not was_full:
            sys.stderr.write(f"note: {full}; the run continues when there is room\n")
        elif was_full and not full:
            sys.stderr.write("note: there is room again; the run continues\n")
        was_full = bool(full)
