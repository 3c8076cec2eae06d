"""Streams the response of one run of a session to the terminal, and prompts for its approvals."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NamedTuple

from syntor.cli.api import Api
from syntor.cli.approval_prompt import ApprovalPrompt
from syntor.cli.disk_notice import disk_notice
from syntor.cli.interactive.cancel_keys import CancelKeys
from syntor.cli.markdown_stream import configured_stream
from syntor.cli.question_prompt import QuestionPrompt
from syntor.cli.run_output import Outcome
from syntor.cli.run_text import RunText
from syntor.contracts.task.v1 import ApprovalRequired, QuestionAsked


class StreamedRun(NamedTuple):
    """A run to stream."""

    run_id: str
    start: Callable[[], str]
    """Starts it, unless it is in progress already; returns its session."""


def stream_run(api: Api, run: StreamedRun, keys: CancelKeys) -> Outcome:
    """Start a run and print it to its end; Esc or Ctrl-C cancels it and keeps its output so far.

    Raises:
        KeyboardInterrupt: a second press; the run's terminal event is not waited for, and perhaps the log does not have
            the cancellation yet (`keys.wish`).
    """
    text = RunText(configured_stream())
    prompt = ApprovalPrompt(api)
    answers = QuestionPrompt(api, line_input=keys.line_input)
    keys.starting(run.run_id)
    with keys.watching(), disk_notice():
        outcome = Outcome(run_id=run.run_id, session_id=run.start())
        keys.started()
        try:
            for event in api.follow_run(run.run_id):
                outcome.note(event)
                text.show(event)
                if isinstance(event.body, ApprovalRequired):
                    text.pause()
                    _decide(prompt, keys, run.run_id, event.body.approval_id)
                elif isinstance(event.body, QuestionAsked):
                    text.pause()
                    _answer(answers, keys, run.run_id, event.body.question_id)
        finally:
            text.close()
    return outcome


def _decide(prompt: ApprovalPrompt, keys: CancelKeys, run_id: str, approval_id: str) -> None:
    try:
        with keys.line_input():
            prompt.decide(run_id, approval_id)
    except KeyboardInterrupt:  # cancels the run; its terminal event follows in the stream
        sys.stderr.write("\n")
        keys.cancel(run_id)


def _answer(prompt: QuestionPrompt, keys: CancelKeys, run_id: str, question_id: str) -> None:
    try:
        prompt.answer(run_id, question_id)
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        keys.cancel(run_id)
