"""Follows one run and prints it in the chosen format, always with its outcome at the end."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterable
from types import FrameType

import msgspec

from syntor.cli.api import Api
from syntor.cli.approval_prompt import ApprovalPrompt, can_prompt
from syntor.cli.delivery import DEADLINE_S, STOP_DEADLINE_S, Cancellation
from syntor.cli.disk_notice import disk_notice
from syntor.cli.event import Event
from syntor.cli.markdown_stream import configured_stream
from syntor.cli.output import ExitCode, Format, print_event, print_json
from syntor.cli.problem import ProblemError
from syntor.cli.question_prompt import QuestionPrompt, open_questions
from syntor.cli.run_text import RunText
from syntor.contracts.errors import NotReachableError
from syntor.contracts.http.v1 import Accepted
from syntor.contracts.run.v1 import RunCancelled, RunDone, RunFailed, RunPaused
from syntor.contracts.task.v1 import ApprovalRequired, LlmCallDone, QuestionAsked
from syntor.contracts.visible_text import visible
from syntor.contracts.vocabulary import FinishReason

NOT_STOPPED = "not_stopped"
"""`error_code` of the outcome of an interrupted command whose cancellation is not in the log."""
LIMITS = ("timeout", "limit_reached", "tool_rounds_exceeded")


class Interrupted(BaseException):
    """The command received a signal; `code` is its exit code."""

    def __init__(self, code: ExitCode) -> None:
        super().__init__()
        self.code = code


class PendingApproval(msgspec.Struct, frozen=True):
    """An approval a run waits for, as programs get it."""

    approval_id: str
    title: str
    preview: str
    content_hash: str


class PendingQuestion(msgspec.Struct, frozen=True):
    """A question a run waits for, as programs get it."""

    question_id: str
    text: str
    choices: list[str]
    form: str


class Outcome(msgspec.Struct):
    """The outcome of a run, as programs get it."""

    run_id: str
    session_id: str
    status: str = "running"
    result: str = ""
    finish_reason: FinishReason = "stop"
    """`length` or `content_filter`: the result is not whole."""
    error_code: str = ""
    error: str = ""
    model: str = ""
    input_tokens: int = 0
    cached_input_tokens: int = 0
    """Input tokens the provider read from its cache."""
    output_tokens: int = 0
    cost_usd: float = 0.0
    duration_s: float = 0.0
    exit_code: int = 0
    questions: list[PendingQuestion] = []
    """Questions the run waits for, when there was no terminal to prompt on."""
    approvals: list[PendingApproval] = []
    """Approvals the run waits for, when there was no terminal to prompt on."""

    def note(self, event: Event) -> None:
        """Update the outcome with one event of the run."""
        match event.body:
            case LlmCallDone(usage=usage, provider=provider, model=model):
                self.input_tokens += usage.input_tokens
                self.cached_input_tokens += usage.cached_input_tokens
                self.output_tokens += usage.output_tokens
                self.cost_usd += usage.cost_microusd / 1e6
                self.model = f"{provider}/{model}"
            case RunDone(final_message=message, finish_reason=reason):
                self.status, self.result, self.finish_reason = "done", message, reason
            case RunFailed(code=code, message=message):
                self.status, self.error_code, self.error = "failed", code, message
                self.exit_code = int(ExitCode.LIMIT if code in LIMITS else ExitCode.RUN_FAILED)
            case RunCancelled(reason=reason):
                self.status, self.error = "cancelled", reason
                self.exit_code = self.exit_code or int(ExitCode.RUN_FAILED)
            case _:
                return


def show_run(api: Api, start: Callable[[], Accepted], run_id: str, shape: Format) -> Outcome:
    """Start a run, follow it to its end and print it; Ctrl-C and SIGTERM cancel it and keep its output so far.

    Args:
        start: starts the run.
        run_id: its id, so that it can be cancelled when the response to `start` did not arrive.
    """
    outcome = Outcome(run_id=run_id, session_id="")
    began = time.monotonic()
    previous = signal.signal(signal.SIGTERM, _on_sigterm)
    started = False
    try:
        outcome.session_id, started = start().session_id, True
        with disk_notice():
            _show(api, api.follow_run(run_id), outcome, shape)
    except (KeyboardInterrupt, Interrupted) as exc:
        code = exc.code if isinstance(exc, Interrupted) else ExitCode.INTERRUPTED
        outcome.exit_code = int(code)
        _cancel(
            api, outcome, started=started, deadline_s=DEADLINE_S if code is ExitCode.INTERRUPTED else STOP_DEADLINE_S
        )
    finally:
        signal.signal(signal.SIGTERM, previous)
    outcome.duration_s = round(time.monotonic() - began, 3)
    match shape:
        case Format.JSON:
            print_json(outcome)
        case Format.STREAM_JSON:
            print_json({"type": "outcome", **msgspec.to_builtins(outcome)})
        case Format.TEXT:
            _print_outcome(outcome)
    return outcome


def _show(api: Api, events: Iterable[Event], outcome: Outcome, shape: Format) -> None:
    text = RunText(configured_stream())
    prompt = ApprovalPrompt(api) if shape is Format.TEXT and can_prompt() else None
    answers = QuestionPrompt(api) if prompt is not None else None
    try:
        for event in events:
            outcome.note(event)
            if shape is Format.STREAM_JSON:
                print_event(event.json)
            elif shape is Format.TEXT:
                text.show(event)
            match event.body:
                case ApprovalRequired(approval_id=approval_id) if prompt is not None:
                    text.pause()
                    prompt.decide(outcome.run_id, approval_id)
                case QuestionAsked(question_id=question_id) if answers is not None:
                    text.pause()
                    answers.answer(outcome.run_id, question_id)
                case RunPaused(reason="tool") if prompt is None and _waits_for_answer(api, outcome):
                    return
                case RunPaused(reason="approval") if prompt is None and _waits_for_approval(api, outcome):
                    return
                case _:
                    continue
    finally:
        if shape is Format.TEXT:
            text.close()


def _waits_for_approval(api: Api, outcome: Outcome) -> bool:
    """Return whether a paused run still waits for approvals; they are in the outcome, and the command ends."""
    pending = api.pending_approvals(outcome.run_id)
    if not pending:  # decided meanwhile
        return False
    outcome.status, outcome.exit_code = "paused_waiting_approval", int(ExitCode.APPROVAL_NEEDED)
    outcome.approvals = [
        PendingApproval(each.approval_id, each.title, each.preview, each.content_hash) for each in pending
    ]
    return True


def _waits_for_answer(api: Api, outcome: Outcome) -> bool:
    """Return whether a paused run waits for answers; the questions are in the outcome, and the command ends."""
    pending = open_questions(api, outcome.run_id)
    if not pending:  # it waits for a client's tool, or was answered meanwhile
        return False
    outcome.status, outcome.exit_code = "paused_waiting_tool", int(ExitCode.APPROVAL_NEEDED)
    outcome.questions = [PendingQuestion(each.question_id, each.text, each.choices, each.form) for each in pending]
    return True


def _print_outcome(outcome: Outcome) -> None:
    """Print the outcome on standard error."""
    if outcome.error_code == NOT_STOPPED:
        sys.stderr.write(f"error: {visible(outcome.error)}\n")
    elif outcome.status == "failed":
        sys.stderr.write(f"error: {visible(outcome.error)} ({outcome.error_code})\n")
    elif outcome.status == "cancelled":
        sys.stderr.write("cancelled; the output so far is kept\n")
    elif outcome.exit_code in (ExitCode.INTERRUPTED, ExitCode.TERMINATED):
        sys.stderr.write(f"not cancelled: the run had ended before ({outcome.status})\n")
    for approval in outcome.approvals:
        sys.stderr.write(
            f"approval needed: {visible(approval.title)}\n"
            f"  syntor approvals approve {outcome.run_id} {approval.approval_id}   (or: reject)\n"
        )
    for question in outcome.questions:
        sys.stderr.write(
            f"question: {visible(question.text)}\n  syntor questions answer {outcome.run_id} {question.question_id}\n"
        )
    if outcome.approvals:
        sys.stderr.write("the run is paused; --mode auto-edit or --allow RULE requires fewer approvals\n")
    tokens = outcome.input_tokens + outcome.output_tokens
    parts = [f"run {outcome.run_id}", f"{outcome.duration_s:.1f} s", f"{tokens} tokens"]
    if outcome.cost_usd:
        parts.append(f"${outcome.cost_usd:.4f}")
    parts += [outcome.model, f"session {outcome.session_id}"]
    sys.stderr.write(" · ".join(part for part in parts if part) + "\n")


def _cancel(api: Api, outcome: Outcome, *, started: bool, deadline_s: float) -> None:
    """Request cancellation of the run until the log has it, up to the deadline or another signal.

    The terminal event is not waited for.
    """

    def cancel(run_id: str) -> object:
        return api.cancel_run(run_id, "interrupted")

    def note(wish: Cancellation) -> None:
        if wish.is_pending:
            seconds = f"{deadline_s:g} s"
            sys.stderr.write(f"note: not stopped yet: {wish.problem}; trying again for up to {seconds}\n")

    wish = Cancellation(cancel, outcome.run_id, may_be_late=not started, on_change=note)
    with contextlib.suppress(KeyboardInterrupt, Interrupted):  # the second signal: there is no more time
        wish.wait(deadline_s)
    match wish.state:
        case "requested":
            outcome.status = "cancelled"
        case "ended":
            _note_end(api, outcome)
        case _:
            outcome.error_code, outcome.error = NOT_STOPPED, wish.not_stopped()


def _note_end(api: Api, outcome: Outcome) -> None:
    """Note how a run ended that was not cancelled any more; its text stays as it was shown."""
    try:
        run = api.run(outcome.run_id)
    except (ProblemError, NotReachableError):
        outcome.status = "ended"
        return
    outcome.status, outcome.error_code, outcome.error = run.status, run.error_code, run.error_message
    outcome.result = run.final_message


def _on_sigterm(_: int, __: FrameType | None) -> None:
    raise Interrupted(ExitCode.TERMINATED)
