"""Follows one run and shows it in the shape that was asked for; always ends with its outcome."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterable
from types import FrameType
from typing import Any

import msgspec

from syntor.cli.approving import Approver, can_ask
from syntor.cli.client import ApiClient, ProblemError
from syntor.cli.markdown_stream import configured_stream
from syntor.cli.output import ExitCode, Format, print_json
from syntor.cli.run_text import RunText
from syntor.contracts.errors import NotReachableError

Json = dict[str, Any]
LIMITS = ("timeout", "limit_reached", "tool_rounds_exceeded")


class Interrupted(BaseException):
    """The command was told to stop; `code` is how it ends."""

    def __init__(self, code: ExitCode) -> None:
        super().__init__()
        self.code = code


class Outcome(msgspec.Struct):
    """How a run ended, as programs get it."""

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
    approvals: list[Json] = []
    """Approvals it waits for, when there was nobody to ask."""

    def note(self, event: Json) -> None:
        """Take in one event."""
        data: Json = event.get("data") or {}
        match event["type"]:
            case "llm_call_done":
                usage: Json = data.get("usage", {})
                self.input_tokens += usage.get("input_tokens", 0)
                self.output_tokens += usage.get("output_tokens", 0)
                self.cost_usd += usage.get("cost_microusd", 0) / 1e6
                self.model = f"{data.get('provider', '')}/{data.get('model', '')}"
            case "run_done":
                self.status, self.result = "done", data.get("final_message", "")
            case "run_failed":
                self.status, self.error_code, self.error = "failed", data.get("code", ""), data.get("message", "")
                self.exit_code = int(ExitCode.LIMIT if self.error_code in LIMITS else ExitCode.RUN_FAILED)
            case "run_cancelled":
                self.status, self.error = "cancelled", data.get("reason", "")
                self.exit_code = self.exit_code or int(ExitCode.RUN_FAILED)
            case _:
                return


def show_run(client: ApiClient, started: Json, shape: Format, *, after: int | None = None) -> Outcome:
    """Follow a run to its end and show it; Ctrl-C and SIGTERM cancel it and keep what was said."""
    outcome = Outcome(run_id=started["run_id"], session_id=started["session_id"])
    began = time.monotonic()
    previous = signal.signal(signal.SIGTERM, _on_sigterm)
    try:
        _show(client, client.follow(outcome.run_id, after), outcome, shape)
    except (KeyboardInterrupt, Interrupted) as exc:
        code = exc.code if isinstance(exc, Interrupted) else ExitCode.INTERRUPTED
        _cancel(client, outcome)
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
            _say_outcome(outcome)
    return outcome


def _show(client: ApiClient, events: Iterable[Json], outcome: Outcome, shape: Format) -> None:
    text = RunText(configured_stream())
    approver = Approver(client) if shape is Format.TEXT and can_ask() else None
    try:
        for event in events:
            outcome.note(event)
            if shape is Format.STREAM_JSON:
                print_json(event)
            elif shape is Format.TEXT:
                text.show(event)
            if event["type"] == "approval_required" and approver is not None:
                text.pause()
                approver.ask(outcome.run_id, event["data"]["approval_id"])
            elif event["type"] == "run_paused" and _is_stuck(client, outcome, event["data"], approver):
                return
    finally:
        if shape is Format.TEXT:
            text.close()


def _is_stuck(client: ApiClient, outcome: Outcome, data: Json, approver: Approver | None) -> bool:
    """Tell whether a run waits for somebody who is not here: it stays paused, and the command ends."""
    if data["reason"] != "approval" or approver is not None:
        return False
    pending = client.get(f"/v1/runs/{outcome.run_id}/approvals", status="pending")["approvals"]
    if not pending:  # decided meanwhile
        return False
    outcome.status, outcome.exit_code = "paused_waiting_approval", int(ExitCode.APPROVAL_NEEDED)
    outcome.approvals = [
        {name: approval[name] for name in ("approval_id", "title", "preview", "content_hash")} for approval in pending
    ]
    return True


def _say_outcome(outcome: Outcome) -> None:
    """Say on standard error how it ended."""
    if outcome.status == "failed":
        sys.stderr.write(f"error: {outcome.error} ({outcome.error_code})\n")
    elif outcome.status == "cancelled":
        sys.stderr.write("stopped; what was said is kept\n")
    for approval in outcome.approvals:
        sys.stderr.write(
            f"approval needed: {approval['title']}\n"
            f"  syntor approvals approve {outcome.run_id} {approval['approval_id']}   (or: reject)\n"
        )
    if outcome.approvals:
        sys.stderr.write("the run waits; --mode auto-edit or --allow RULE asks less\n")
    tokens = outcome.input_tokens + outcome.output_tokens
    parts = [f"run {outcome.run_id}", f"{outcome.duration_s:.1f} s", f"{tokens} tokens"]
    if outcome.cost_usd:
        parts.append(f"${outcome.cost_usd:.4f}")
    parts += [outcome.model, f"session {outcome.session_id}"]
    sys.stderr.write(" · ".join(part for part in parts if part) + "\n")


def _cancel(client: ApiClient, outcome: Outcome) -> None:
    """Cancel the run and wait a moment for its end; it is cancelled even if we do not see it."""
    try:
        client.post(f"/v1/runs/{outcome.run_id}/cancel", {"reason": "interrupted"})
    except ProblemError as exc:
        if exc.status != 409:  # 409: it ended on its own just before
            sys.stderr.write(f"error: {exc}\n")
    except NotReachableError as exc:
        sys.stderr.write(f"error: {exc}; the run goes on: syntor runs cancel {outcome.run_id}\n")
        return
    outcome.status = "cancelled"


def _on_sigterm(_: int, __: FrameType | None) -> None:
    raise Interrupted(ExitCode.TERMINATED)
