"""Watches the keyboard while a run's response is streamed: Esc or Ctrl-C cancels the run."""

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

from syntor.cli.delivery import Cancellation

_POLL_S = 0.1
_KEY_REST_S = 0.05  # the rest of an arrow key's sequence arrives immediately; a lone Esc has none
_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O.|.)?", re.DOTALL)


def is_cancel(keys: bytes) -> bool:
    """Return whether the keys hold Ctrl-C or a lone Esc; arrow keys and their like begin with an Esc too."""
    return b"\x03" in keys or (bool(keys) and not keys.strip(b"\x1b"))


def typed_text(keys: bytes) -> str:
    """Return the text among the keys, without control sequences."""
    text = _SEQUENCE.sub("", keys.decode("utf-8", "ignore")).replace("\r", "\n")
    return "".join(each for each in text if each.isprintable() or each == "\n")


class CancelKeys:
    """Requests cancellation of a run when Esc or Ctrl-C is pressed.

    A second press interrupts this process instead of waiting for the server; the wish to cancel is kept. Other keys are
    kept in `typed`.
    """

    def __init__(self, cancel: Callable[[str], object]) -> None:
        """Prepare.

        Args:
            cancel: requests the cancellation of a run by its id.
        """
        self.wish: Cancellation | None = None
        """The cancellation requested by a key; None: no key was pressed."""
        self._cancel = cancel
        self._starting = False
        self._done = threading.Event()
        self._keys = b""
        self._run_id = ""
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._suspended = False
        self._line_mode: list[Any] | None = None
        self._pressed = False

    @property
    def typed(self) -> str:
        """Text typed meanwhile."""
        return typed_text(self._keys)

    def starting(self, run_id: str) -> None:
        """Set the run to cancel, which may not be in the log yet."""
        self._starting = True
        with self._lock:
            self._run_id = run_id

    def started(self) -> None:
        """Note that the log has the run."""
        self._starting = False

    @contextmanager
    def watching(self) -> Generator[None, None, None]:
        """Watch inside the block; the terminal's settings are restored afterwards."""
        if not sys.stdin.isatty():
            yield
            return
        descriptor = sys.stdin.fileno()
        before = self._line_mode = termios.tcgetattr(descriptor)
        watcher = threading.Thread(target=self._watch, args=(descriptor,), daemon=True)
        try:
            tty.setcbreak(descriptor)
            settings = termios.tcgetattr(descriptor)
            settings[3] &= ~termios.ISIG  # Ctrl-C is read as a key, so that it cannot interrupt the stream
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
    def line_input(self) -> Generator[None, None, None]:
        """Suspend watching and put the terminal into line mode inside the block."""
        if self._line_mode is None:
            yield
            return
        descriptor = sys.stdin.fileno()
        watching = termios.tcgetattr(descriptor)
        self._suspended = True
        with self._reading:  # the watcher does not read now
            termios.tcsetattr(descriptor, termios.TCSADRAIN, self._line_mode)
            try:
                yield
            finally:
                termios.tcsetattr(descriptor, termios.TCSADRAIN, watching)
                self._suspended = False

    def _watch(self, descriptor: int) -> None:
        while not self._done.is_set():
            if self._suspended:
                self._done.wait(_POLL_S)
                continue
            with self._reading:
                keys = self._read(descriptor)
            if keys is None:
                continue
            if not keys:  # the terminal was closed; the run continues
                return
            if is_cancel(keys):
                self._press()
            else:
                self._keys += keys

    @staticmethod
    def _read(descriptor: int) -> bytes | None:
        """Return the keys pressed; None: none within the poll interval."""
        if not select.select([descriptor], [], [], _POLL_S)[0]:
            return None
        keys = os.read(descriptor, 1024)
        while keys.endswith(b"\x1b") and select.select([descriptor], [], [], _KEY_REST_S)[0]:
            keys += os.read(descriptor, 1024)
        return keys

    def _press(self) -> None:
        with self._lock:
            again, self._pressed, run_id = self._pressed, True, self._run_id
        if again:
            os.kill(os.getpid(), signal.SIGINT)
        elif run_id:
            self.cancel(run_id)

    def cancel(self, run_id: str) -> Cancellation:
        """Keep the wish to cancel a run until the log has it; what becomes of it is printed."""
        with self._lock:
            if self.wish is None:
                self.wish = Cancellation(self._cancel, run_id, may_be_late=self._starting, on_change=_report)
            return self.wish


def _report(wish: Cancellation) -> None:
    if wish.is_pending:
        sys.stderr.write(f"\nnote: not stopped yet: {wish.problem}; trying again while this session is open\n")
    elif wish.state == "requested":
        sys.stderr.write(f"\nnote: the cancellation of run {wish.run_id} is stored now\n")
    elif wish.state == "refused":
        sys.stderr.write(f"\nerror: {wish.not_stopped()}\n")
