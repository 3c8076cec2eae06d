"""Prompts the user at the terminal for a decision on a tool call, and submits it."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from syntor.cli.api import Api, Decision
from syntor.cli.problem import ProblemError
from syntor.contracts.errors import NotReachableError
from syntor.contracts.http.v1 import Approval
from syntor.contracts.run.v1 import UserInput
from syntor.contracts.vocabulary import ApprovalScope
from syntor.stack.layout import Layout, home_folder

_POLL_S = 1.0  # how often the prompt checks for a decision from elsewhere


class ApprovalPrompt:
    """Prompts for the approvals of one run."""

    def __init__(self, api: Api, *, line_input: Callable[[], AbstractContextManager[None]] = nullcontext) -> None:
        """Prepare.

        Args:
            line_input: puts the terminal into line mode inside its block.
        """
        self._api = api
        self._line_input = line_input
        self._granted: set[str] = set()

    def decide(self, run_id: str, approval_id: str) -> None:
        """Prompt for one approval and submit the decision, unless it was decided elsewhere.

        Raises:
            KeyboardInterrupt: Ctrl-C or the end of input instead of a decision.
            ProblemError: the server refused the decision.
        """
        approval = self._api.approval(run_id, approval_id)
        if approval.decision is not None:
            return
        if approval.rule in self._granted:  # requested before its rule was approved for the session
            self._submit(approval, _decision(approval, approved=True))
            return
        _show(approval)
        with self._line_input():
            decision = self._prompt(approval)
        if decision is None:
            sys.stderr.write("(decided elsewhere)\n")
            return
        if decision.scope == "session":
            self._granted.add(approval.rule)
        self._submit(approval, decision)

    def _submit(self, approval: Approval, decision: Decision) -> None:
        try:
            self._api.decide(approval.run_id, approval.approval_id, decision)
        except ProblemError as exc:
            if exc.status != 409:
                raise
            sys.stderr.write(f"({exc})\n")

    def _prompt(self, approval: Approval) -> Decision | None:
        """Return the user's decision; None when the approval was decided elsewhere."""
        rule = approval.rule
        choices = "[y] once" + (
            f"  [s] this session: {rule}  [a] always in this folder  [e] everywhere" if rule else ""
        )
        while True:
            line = self._read_line(f"Allow? {choices}  [n] no  ", approval)
            if line is None:
                return None
            word, _, rest = line.strip().partition(" ")
            match word.lower():
                case "y" | "yes" | "once":
                    return _decision(approval, approved=True)
                case "s" | "session" if rule:
                    return _decision(approval, approved=True, scope="session")
                case "a" | "always" if rule:
                    allow_always(rule, workspace_of(self._api, approval.run_id))
                    return _decision(approval, approved=True, scope="session")
                case "e" | "everywhere" if rule:
                    allow_always(rule, None)
                    return _decision(approval, approved=True, scope="session")
                case "n" | "no":
                    return self._rejection(approval, rest.strip())
                case _:
                    sys.stderr.write("type y, " + ("s, a, e " if rule else "") + "or n (optionally with a reason)\n")

    def _rejection(self, approval: Approval, reason: str) -> Decision | None:
        line = reason or self._read_line("Reason? (told to the agent; optional)  ", approval)
        return None if line is None else _decision(approval, approved=False, reason=line.strip())

    def _read_line(self, prompt: str, approval: Approval) -> str | None:
        """Return a typed line; None once the approval was decided elsewhere."""
        sys.stderr.write(prompt)
        sys.stderr.flush()
        while not select.select([sys.stdin], [], [], _POLL_S)[0]:
            if self._is_decided(approval):
                sys.stderr.write("\n")
                return None
        line = sys.stdin.readline()
        if not line:
            raise KeyboardInterrupt
        return line

    def _is_decided(self, approval: Approval) -> bool:
        try:
            return self._api.approval(approval.run_id, approval.approval_id).decision is not None
        except (NotReachableError, ProblemError):
            return False  # not known now; the prompt waits for the user, not for the server


def workspace_of(api: Api, run_id: str) -> Path | None:
    """Return the folder a run works in; None: none."""
    first = next((event.body for event in api.run_events(run_id) if isinstance(event.body, UserInput)), None)
    return Path(first.workspace) if first is not None and first.workspace else None


def allow_always(rule: str, folder: Path | None) -> None:
    """Save a rule for a folder, outside of it, or for every folder in the user's configuration; print where.

    Args:
        folder: folder it holds in; None: every folder.
    """
    if folder is not None:
        from syntor.configuration.folder_rules import allow_in

        path = allow_in(home_folder(os.environ), folder, rule)
        sys.stderr.write(f"saved to {path}, for {folder}: {rule}\n")
        return
    from syntor.configuration.document import read_document
    from syntor.configuration.editing import set_value

    path = Layout(home_folder(os.environ)).config
    known = read_document(path).get("permissions.allow") if path.exists() else None
    rules = [str(each) for each in known.value] if known is not None and isinstance(known.value, list) else []
    if rule not in rules:
        set_value(path, "permissions.allow", [*rules, rule])
    sys.stderr.write(f"saved to {path}: permissions.allow: {rule}\n")


def can_prompt() -> bool:
    """Return whether the process has a terminal to prompt on."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def user() -> str:
    """Return the user's name, as decisions record it."""
    return f"cli:{os.environ.get('USER') or os.environ.get('LOGNAME') or os.getuid()}"


def _decision(approval: Approval, *, approved: bool, scope: ApprovalScope = "once", reason: str = "") -> Decision:
    return Decision(
        approved=approved, content_hash=approval.content_hash, decided_by=user(), scope=scope, reason=reason
    )


def _show(approval: Approval) -> None:
    sys.stderr.write(f"\n{approval.title}\n")
    if approval.reason:
        sys.stderr.write(f"({approval.reason})\n")
    if approval.preview:
        sys.stderr.write("\n".join(f"  {line}" for line in approval.preview.splitlines()) + "\n")
