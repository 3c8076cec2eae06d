"""One answer in the session: streams it, and stops the run when Esc or Ctrl-C is pressed."""

from __future__ import annotations

import os
import select
import sys
import termios
import threading
import tty
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from syntor.cli.client import ApiClient, ProblemError
from syntor.cli.run_view import Outcome, StatusLine, show_text
from syntor.contracts.errors import NotReachableError

_ESCAPE, _CTRL_C = b"\x1b", b"\x03"
_LOOK_EVERY_S = 0.1


class Stopper:
    """Watches the keyboard while an answer comes, and asks the server to stop the run."""

    def __init__(self, client: ApiClient, run_id: str) -> None:
        self._client = client
        self._run_id = run_id
        self._done = threading.Event()
        self.asked = False

    @contextmanager
    def watching(self) -> Generator[None, None, None]:
        """Watch inside the block; the terminal is as it was afterwards."""
        descriptor = sys.stdin.fileno()
        before = termios.tcgetattr(descriptor)
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
            watcher.join(1.0)
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)

    def _watch(self, descriptor: int) -> None:
        while not self._done.is_set():
            if select.select([descriptor], [], [], _LOOK_EVERY_S)[0]:
                key = os.read(descriptor, 32)
                if key in (_ESCAPE, _CTRL_C) and not self.asked:
                    self.asked = True
                    self._stop()

    def _stop(self) -> None:
        try:
            ApiClient(self._client.base_url).post(f"/v1/runs/{self._run_id}/cancel", {"reason": "stopped by the user"})
        except ProblemError as exc:
            if exc.status != 409:  # 409: it ended on its own just before
                sys.stderr.write(f"\r\nerror: {exc}\r\n")
        except NotReachableError as exc:
            sys.stderr.write(f"\r\nerror: {exc}\r\n")


def answer(client: ApiClient, started: dict[str, Any], after: int | None = None) -> Outcome:
    """Show a run to its end; Esc or Ctrl-C stops it and keeps what was said."""
    from syntor.cli.markdown_stream import MarkdownStream

    outcome = Outcome(run_id=started["run_id"], session_id=started["session_id"])
    markdown, status = MarkdownStream(), StatusLine()
    stopper = Stopper(client, outcome.run_id)
    spoke = False
    with stopper.watching():
        try:
            for event in client.follow(outcome.run_id, after):
                outcome.note(event)
                spoke = show_text(event, markdown, status, spoke)
        finally:
            status.clear()
            markdown.close()
    return outcome
