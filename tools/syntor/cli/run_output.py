"""Follows one run and prints it in the chosen format, always with its outcome at the end."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterable
from types import FrameType

import msgspec

from syntor.cli.api import Api
from syntor.cli.approval_prompt import ApprovalPrompt, can_prompt
from syntor.cli.event import Event
from syntor.cli.markdown_stream import configured_stream
from syntor.cli.output import ExitCode, Format, print_event, print_json
from syntor.cli.problem import ProblemError
from syntor.cli.run_text import RunText
from syntor.contracts.errors import NotReachableError
from syntor.contracts.run.v1 import RunCancelled, RunDone, RunFailed, RunPaused
from syntor.contracts.task.v1 import ApprovalRequired, LlmCallDone

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


class Outcome(msgspec.Struct):
    """The outcome of a run, as programs get it."""

    run_id: str
    session_id: str
    status: str = "running"
    result: str = ""
    error_code: str = ""
    error: str = ""
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    duration_s: float = 0.0
    exit_code: int = 0
    approvals: list[PendingApproval] = []
    """Approvals the run waits for, when there was no terminal to prompt on."""

    def note(self, event: Event) -> None:
        """Update the outcome with one event of the run."""
        match event.body:
            case LlmCallDone(usage=usage, provider=provider, model=model):
                self.input_tokens += usage.input_tokens
                self.output_tokens += usage.output_tokens
                self.cost_usd += usage.cost_microusd / 1e6
                self.model = f"{provider}/{model}"
            case RunDone(final_message=message):
                self.status, self.result = "done", message
            case RunFailed(code=code, message=message):
                self.status, self.error_code, self.error = "failed", code, message
                self.exit_code = int(ExitCode.LIMIT if code in LIMITS else ExitCode.RUN_FAILED)
            case RunCancelled(reason=reason):
                self.status, self.error = "cancelled", reason
                self.exit_code = self.exit_code or int(ExitCode.RUN_FAILED)
            case _:
                return


def show_run(api: Api, run_id: str, session_id: str, shape: Format) -> Outcome:
    """Follow a run to its end and print it; Ctrl-C and SIGTERM cancel it and keep its output so far."""
    outcome = Outcome(run_id=run_id, session_id=session_id)
    began = time.monotonic()
    previous = signal.signal(signal.SIGTERM, _on_sigterm)
    try:
        _show(api, api.follow_run(run_id), outcome, shape)
    except (KeyboardInterrupt, Interrupted) as exc:
        code = exc.code if isinstance(exc, Interrupted) else ExitCode.INTERRUPTED
        _cancel(api, outcome)
        outcome.exit_code = int(code)
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


def _print_outcome(outcome: Outcome) -> None:
    """Print the outcome on standard error."""
    if outcome.status == "failed":
        sys.stderr.write(f"error: {outcome.error} ({outcome.error_code})\n")
    elif outcome.status == "cancelled":
        sys.stderr.write("cancelled; the output so far is kept\n")
    for approval in outcome.approvals:
        sys.stderr.write(
            f"approval needed: {approval.title}\n"
            f"  syntor approvals approve {outcome.run_id} {approval.approval_id}   (or: reject)\n"
        )
    if outcome.approvals:
        sys.stderr.write("the run is paused; --mode auto-edit or --allow RULE requires fewer approvals\n")
    tokens = outcome.input_tokens + outcome.output_tokens
    parts = [f"run {outcome.run_id}", f"{outcome.duration_s:.1f} s", f"{tokens} tokens"]
    if outcome.cost_usd:
        parts.append(f"${outcome.cost_usd:.4f}")
    parts += [outcome.model, f"session {outcome.session_id}"]
    sys.stderr.write(" · ".join(part for part in parts if part) + "\n")


def _cancel(api: Api, outcome: Outcome) -> None:
    """Request cancellation of the run; its terminal event is not waited for."""
    try:
        api.cancel_run(outcome.run_id, "interrupted")
    except ProblemError as exc:
        if exc.status != 409:  # 409: it ended just before
            sys.stderr.write(f"error: {exc}\n")
    except NotReachableError as exc:
        sys.stderr.write(f"error: {exc}; the run continues: syntor runs cancel {outcome.run_id}\n")
        return
    outcome.status = "cancelled"


def _on_sigterm(_: int, __: FrameType | None) -> None:
    raise Interrupted(ExitCode.TERMINATED)
