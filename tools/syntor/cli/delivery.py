"""Keeps requests until the log has them, while this process lives.

What a person decided is neither lost nor reported as done before it is stored.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Literal, TypeVar

from syntor.cli.problem import ProblemError
from syntor.contracts.errors import NotReachableError, SyntorError
from syntor.contracts.ids import derived_id, new_id

T = TypeVar("T")

DEADLINE_S = 30.0  # a restarted service or NATS is back within a few seconds
STOP_DEADLINE_S = 8.0  # after SIGTERM: service managers kill after 10 s or more
NOTE_AFTER_S = 1.5  # shorter interruptions are not worth a line
_RETRY_DELAYS_S = (0.1, 0.2, 0.5, 1.0)
_NOW_AND_THEN = (429, 500, 502, 503, 504)  # the same request may succeed later

State = Literal["pending", "requested", "ended", "refused"]


def new_key() -> str:
    """Return a fresh idempotency key for a run."""
    return f"cli-{new_id()}"


def run_id_of(key: str) -> str:
    """Return the id of the run that an idempotency key creates, known before the server has it."""
    return derived_id("run", key)


def deliver(send: Callable[[], T], what: str, *, deadline_s: float = DEADLINE_S) -> T:
    """Send a request until the server has stored it; the wait is shown on standard error.

    Args:
        send: sends it; safe to repeat.
        what: what the note is about, such as "the message is not stored yet".

    Raises:
        ProblemError: the server refused it, or still could not store it at the deadline.
        NotReachableError: the server is unavailable, until the deadline if it is a local stack.
    """
    began, failing_since, attempt, noted = time.monotonic(), 0.0, 0, False
    while True:
        try:
            return send()
        except (NotReachableError, ProblemError) as exc:
            if not _may_succeed_later(exc) or (isinstance(exc, NotReachableError) and "SYNTOR_URL" in os.environ):
                raise
            now = time.monotonic()
            failing_since = failing_since or now
            if now - failing_since > deadline_s:
                raise
            if not noted and now - began >= NOTE_AFTER_S:
                noted = True
                sys.stderr.write(f"note: {what}: {exc}; trying again for up to {deadline_s:g} s\n")
        time.sleep(_RETRY_DELAYS_S[min(attempt, len(_RETRY_DELAYS_S) - 1)])
        attempt += 1


class Cancellation:
    """The wish to cancel one run, delivered by a thread that tries until the log has it or the process ends."""

    def __init__(
        self,
        cancel: Callable[[str], object],
        run_id: str,
        *,
        may_be_late: bool = False,
        on_change: Callable[[Cancellation], None] = lambda _: None,
    ) -> None:
        """Begin to deliver.

        Args:
            cancel: requests the cancellation of a run by its id.
            may_be_late: whether the run may still be on its way to the log: one that is unknown is tried again.
            on_change: called in a thread when the log does not have it after 1.5 s, and when it is settled after that.
        """
        self.run_id = run_id
        self.state: State = "pending"
        self.problem = "no response yet"
        """Why it is not in the log yet, or was refused."""
        self._cancel = cancel
        self._may_be_late = may_be_late
        self._on_change = on_change
        self._settled = threading.Event()
        self._noted = False
        self._note = threading.Timer(NOTE_AFTER_S, self._report_pending)
        self._note.daemon = True
        self._note.start()
        threading.Thread(target=self._deliver, daemon=True).start()

    @property
    def is_pending(self) -> bool:
        """Whether the log does not have it yet."""
        return self.state == "pending"

    def wait(self, timeout_s: float) -> bool:
        """Wait until it is settled; return False when the time is up first."""
        return self._settled.wait(timeout_s)

    def not_stopped(self) -> str:
        """Return what to tell a person who leaves before it is settled."""
        return f"not stopped ({self.problem}); run: syntor runs cancel {self.run_id}"

    def _deliver(self) -> None:
        attempt = 0
        while not self._attempt():
            time.sleep(_RETRY_DELAYS_S[min(attempt, len(_RETRY_DELAYS_S) - 1)])
            attempt += 1
        self._note.cancel()
        if self._noted:
            self._on_change(self)
        self._settled.set()

    def _report_pending(self) -> None:
        self._noted = True
        if self.is_pending:
            self._on_change(self)

    def _attempt(self) -> bool:
        """Send the request once; return whether it is settled."""
        try:
            self._cancel(self.run_id)
        except (NotReachableError, ProblemError) as exc:
            self.problem = str(exc)
            if _may_succeed_later(exc) or (self._may_be_late and isinstance(exc, ProblemError) and exc.status == 404):
                return False
            self.state = "ended" if isinstance(exc, ProblemError) and exc.status == 409 else "refused"
        except SyntorError as exc:
            self.problem, self.state = str(exc), "refused"
        else:
            self.problem, self.state = "", "requested"
        return True


def _may_succeed_later(exc: SyntorError) -> bool:
    return isinstance(exc, NotReachableError) or (isinstance(exc, ProblemError) and exc.status in _NOW_AND_THEN)
