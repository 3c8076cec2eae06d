"""One answer in the session: streams it, and stops the run when Esc or Ctrl-C is pressed."""

from __future__ import annotations

import os
import re
import select
import signal
import sys
import termios
import threading
import tty
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from syntor.cli.approving import Approver
from syntor.cli.client import ApiClient, ProblemError
from syntor.cli.run_text import RunText
from syntor.cli.run_view import Outcome
from syntor.contracts.errors import NotReachableError

Json = dict[str, Any]
_LOOK_EVERY_S = 0.1
_KEY_REST_S = 0.05  # the rest of an arrow key comes at once; after a lone Esc nothing comes
_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O.|.)?", re.DOTALL)


def wants_stop(keys: bytes) -> bool:
    """Whether what was typed holds Ctrl-C, or an Esc of its own: arrow keys and their like begin with one too."""
    return b"\x03" in keys or (bool(keys) and not keys.strip(b"\x1b"))


def typed_text(keys: bytes) -> str:
    """Return the text among what was typed, without keys that are no text."""
    text = _SEQUENCE.sub("", keys.decode("utf-8", "ignore")).replace("\r", "\n")
    return "".join(each for each in text if each.isprintable() or each == "\n")


class Stopper:
    """Watches the keyboard while an answer comes, and asks the server to stop the run.

    A second Esc or Ctrl-C no longer waits for the server. What is typed meanwhile is kept in `typed`.
    """

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._done = threading.Event()
        self._keys = b""
        self._run_id = ""
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._held = False
        self._before: list[Any] | None = None
        self.asked = False

    @property
    def typed(self) -> str:
        """Text typed while the answer came."""
        return typed_text(self._keys)

    def started(self, run_id: str) -> None:
        """Name the run to stop; it is stopped at once if that was asked for already."""
        with self._lock:
            self._run_id = run_id
            asked = self.asked
        if asked:
            self.stop(run_id)

    @contextmanager
    def watching(self) -> Generator[None, None, None]:
        """Watch inside the block; the terminal is as it was afterwards."""
        if not sys.stdin.isatty():
            yield
            return
        descriptor = sys.stdin.fileno()
        before = self._before = termios.tcgetattr(descriptor)
        watcher = threading.Thread(target=self._watch, args=(descriptor,), daemon=True)
        try:
            tty.setcbreak(descriptor)
            settings = termios.tcgetattr(descriptor)
            settings[3] &= ~termios.ISIG  # Ctrl-C comes as a key, so that it cannot tear the stream apart
            termios.tcsetattr(descriptor, termios.TCSANOW, settings)
            watcher.start()
            yield
        finally:
            self._done.set()
            try:
                watcher.join(1.0)
            finally:
                termios.tcsetattr(descriptor, termios.TCSADRAIN, before)

    @contextmanager
    def paused(self) -> Generator[None, None, None]:
        """Give the keyboard back to line input inside the block."""
        if self._before is None:
            yield
            return
        descriptor = sys.stdin.fileno()
        watching = termios.tcgetattr(descriptor)
        self._held = True
        with self._reading:  # the watcher has let go of the keyboard
            termios.tcsetattr(descriptor, termios.TCSADRAIN, self._before)
            try:
                yield
            finally:
                termios.tcsetattr(descriptor, termios.TCSADRAIN, watching)
                self._held = False

    def _watch(self, descriptor: int) -> None:
        while not self._done.is_set():
            if self._held:
                self._done.wait(_LOOK_EVERY_S)
                continue
            with self._reading:
                keys = self._read(descriptor)
            if keys is None:
                continue
            if not keys:  # the terminal is gone; the run goes on
                return
            if wants_stop(keys):
                self._pressed()
            else:
                self._keys += keys

    @staticmethod
    def _read(descriptor: int) -> bytes | None:
        """Return keys that were pressed; None: none for a moment."""
        if not select.select([descriptor], [], [], _LOOK_EVERY_S)[0]:
            return None
        keys = os.read(descriptor, 1024)
        while keys.endswith(b"\x1b") and select.select([descriptor], [], [], _KEY_REST_S)[0]:
            keys += os.read(descriptor, 1024)
        return keys

    def _pressed(self) -> None:
        with self._lock:
            again, self.asked, run_id = self.asked, True, self._run_id
        if again:
            os.kill(os.getpid(), signal.SIGINT)
        elif run_id:
            threading.Thread(target=self.stop, args=(run_id,), daemon=True).start()

    def stop(self, run_id: str) -> None:
        """Ask the server to stop a run."""
        try:
            ApiClient(self._base_url).post(f"/v1/runs/{run_id}/cancel", {"reason": "stopped by the user"})
        except ProblemError as exc:
            if exc.status != 409:  # 409: it ended on its own just before
                sys.stderr.write(f"\nerror: {exc}\n")
        except NotReachableError as exc:
            sys.stderr.write(f"\nerror: {exc}; the run goes on: syntor runs cancel {run_id}\n")


def _ask(approver: Approver, stopper: Stopper, run_id: str, approval_id: str) -> None:
    try:
        approver.ask(run_id, approval_id)
    except KeyboardInterrupt:  # instead of an answer: the run is to stop, its end is shown
        sys.stderr.write("\n")
        stopper.stop(run_id)


def answer(client: ApiClient, start: Callable[[], Json], stopper: Stopper) -> Outcome:
    """Start a run and show it to its end; Esc or Ctrl-C stops it and keeps what was said.

    Raises:
        KeyboardInterrupt: stopping was asked for twice; the run was told to stop, its end is not waited for.
    """
    from syntor.cli.markdown_stream import configured_stream

    text = RunText(configured_stream())
    approver = Approver(client, around=stopper.paused)
    with stopper.watching():
        started = start()
        outcome = Outcome(run_id=started["run_id"], session_id=started["session_id"])
        stopper.started(outcome.run_id)
        try:
            for event in client.follow(outcome.run_id):
                outcome.note(event)
                text.show(event)
                if event["type"] == "approval_required":
                    text.pause()
                    _ask(approver, stopper, outcome.run_id, event["data"]["approval_id"])
        finally:
            text.close()
    return outcome
