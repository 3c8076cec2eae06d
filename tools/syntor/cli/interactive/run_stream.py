"""Follows one run of a session in a thread, while the session's input line stays usable."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Literal, NamedTuple

from syntor.cli.api import Api
from syntor.cli.disk_notice import disk_notice
from syntor.cli.interactive.run_progress import RunProgress
from syntor.cli.markdown_stream import MarkdownStream
from syntor.cli.run_output import Outcome
from syntor.cli.run_text import RunText
from syntor.contracts.task.v1 import ApprovalRequired, QuestionAsked


class StreamedRun(NamedTuple):
    """A run to stream."""

    run_id: str
    start: Callable[[], str]
    """Starts it, unless it is in progress already; returns its session."""
    of_others: bool = False
    """Whether another terminal started it; then its input is shown too."""


class Prompt(NamedTuple):
    """Something the run waits for that a person decides."""

    kind: Literal["approval", "question"]
    id: str


class Turn:
    """One run that is followed. The thread prints what is finished; the rest is read by the session's view."""

    def __init__(
        self, api: Api, run: StreamedRun, text: RunText, markdown: MarkdownStream, wake: Callable[[], None]
    ) -> None:
        """Prepare.

        Args:
            wake: called by the thread when the session has something to do: a prompt, or the end.
        """
        self.run = run
        self.outcome = Outcome(run_id=run.run_id, session_id="")
        self.progress = RunProgress(time.monotonic())
        self.error: Exception | SystemExit | None = None
        """What ended it early."""
        self.is_started = False
        """Whether the log has the run."""
        self.is_done = False
        self.prompt: Prompt | None = None
        """What waits for a person; the thread waits until `prompt_closed`."""
        self.text = text
        self._markdown = markdown
        self._api = api
        self._wake = wake
        self._abandoned = False
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def start(self) -> None:
        """Start the run and follow it."""
        self._thread.start()

    @property
    def open_text(self) -> str:
        """The part of the response that is not printed yet."""
        return self._markdown.open_text

    def prompt_closed(self) -> None:
        """Continue: it was decided, here or elsewhere."""
        self.prompt = None
        self._closed.set()

    def abandon(self) -> None:
        """Follow it no more; nothing of it is printed from now on."""
        self._abandoned = self.is_done = True
        self._closed.set()

    def join(self) -> None:
        """Wait until all of it is printed; a run that was abandoned is not waited for."""
        if not self._abandoned:
            self._thread.join()

    def _follow(self) -> None:
        try:
            with disk_notice():
                self.outcome.session_id = self.run.start()
                self.is_started = True
                for event in self._api.follow_run(self.run.run_id):
                    if self._abandoned:
                        return
                    self.outcome.note(event)
                    self.progress.note(event, time.monotonic())
                    self.text.show(event)
                    match event.body:
                        case ApprovalRequired(approval_id=approval_id):
                            self._ask(Prompt("approval", approval_id))
                        case QuestionAsked(question_id=question_id):
                            self._ask(Prompt("question", question_id))
                        case _:
                            continue
        except (Exception, SystemExit) as exc:  # noqa: BLE001 - raised again by the session's loop
            self.error = exc
        finally:
            if not self._abandoned:
                self.text.close()
                self.is_done = True
                self._wake()

    def _ask(self, prompt: Prompt) -> None:
        self.text.pause()
        self._closed.clear()
        self.prompt = prompt
        self._wake()
        self._closed.wait()
