"""Prompts the user at the terminal for a decision on a tool call, and submits it."""

from __future__ import annotations

import os
import pydoc
import shutil
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from syntor.cli.api import Api, Decision
from syntor.cli.approval_view import fitted, heading, preview_lines
from syntor.cli.problem import ProblemError
from syntor.cli.terminal_style import console
from syntor.contracts.errors import NotReachableError
from syntor.contracts.http.v1 import Approval
from syntor.contracts.run.v1 import UserInput
from syntor.contracts.visible_text import visible
from syntor.contracts.vocabulary import ApprovalScope
from syntor.stack.layout import Layout, home_folder

if TYPE_CHECKING:
    from prompt_toolkit.key_binding import KeyPressEvent

_POLL_S = 1.0  # how often the prompt checks for a decision from elsewhere
_APPROVING = ("y", "once", "s", "session", "a", "always", "e", "everywhere")
_ESCAPE_S = 0.1  # the rest of an arrow key's sequence arrives immediately; a lone Esc has none


class ApprovalPrompt:
    """Prompts for the approvals of one run."""

    def __init__(self, api: Api) -> None:
        self._api = api
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
        decision = self._prompt(approval, whole=_show(approval))
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

    def _prompt(self, approval: Approval, *, whole: bool) -> Decision | None:
        """Return the user's decision; None when the approval was decided elsewhere.

        Args:
            whole: whether all of it was shown; else no letter approves it until it was.
        """
        rule = visible(approval.rule)
        choices = "[y] once  [n] no (Esc)" + ("" if whole else "  [v] view all")
        if rule:
            choices += f"\n[s] this session: {rule}\n[a] always in this folder  [e] everywhere"
        while True:
            sys.stderr.write(f"\n{choices}\n")
            line = self._read_line("Allow? ", approval)
            if line is None:
                return None
            word, _, rest = line.strip().partition(" ")
            word = word.lower()
            if not whole and word in _APPROVING:
                sys.stderr.write("not all of it was shown: v shows all; `yes` approves it unseen\n")
                continue
            match word:
                case "y" | "yes" | "once":
                    return _decision(approval, approved=True)
                case "s" | "session" if rule:
                    return _decision(approval, approved=True, scope="session")
                case "a" | "always" if rule:
                    allow_always(approval.rule, workspace_of(self._api, approval.run_id))
                    return _decision(approval, approved=True, scope="session")
                case "e" | "everywhere" if rule:
                    allow_always(approval.rule, None)
                    return _decision(approval, approved=True, scope="session")
                case "n" | "no":
                    return self._rejection(approval, rest.strip())
                case "v" | "view":
                    pydoc.pager("\n".join([*heading(approval), *(line.plain for line in preview_lines(approval))]))
                    whole = True
                case "\x1b":
                    return _decision(approval, approved=False)
                case _:
                    known = "y, " + ("s, a, e, " if rule else "") + ("" if whole else "v, ")
                    sys.stderr.write(f"type {known}or n (optionally with a reason)\n")

    def _rejection(self, approval: Approval, reason: str) -> Decision | None:
        line = reason or self._read_line("Reason? (told to the agent; optional)  ", approval)
        return None if line is None else _decision(approval, approved=False, reason=line.strip().strip("\x1b"))

    def _read_line(self, prompt: str, approval: Approval) -> str | None:
        """Return a typed line, an escape character for Esc, or None once the approval was decided elsewhere.

        Raises:
            KeyboardInterrupt: Ctrl-C or the end of input.
        """
        from prompt_toolkit import PromptSession
        from prompt_toolkit.key_binding import KeyBindings
        from prompt_toolkit.output import create_output

        keys = KeyBindings()

        @keys.add("escape")
        def reject(event: KeyPressEvent) -> None:
            event.app.exit(result="\x1b")

        del reject
        session: PromptSession[str | None] = PromptSession(
            key_bindings=keys, output=create_output(stdout=sys.stderr), enable_suspend=True
        )
        session.app.ttimeoutlen = session.app.timeoutlen = _ESCAPE_S

        answered = threading.Event()

        def end() -> None:
            if not session.app.is_done:
                session.app.exit(result=None)

        def watch() -> None:
            while not answered.wait(_POLL_S):
                if self._is_decided(approval) and (loop := session.app.loop) is not None:
                    loop.call_soon_threadsafe(end)
                    return

        try:
            return session.prompt(prompt, pre_run=threading.Thread(target=watch, daemon=True).start)
        except EOFError:
            raise KeyboardInterrupt from None
        finally:
            answered.set()

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
        sys.stderr.write(visible(f"saved to {path}, for {folder}: {rule}\n"))
        return
    from syntor.configuration.document import read_document
    from syntor.configuration.editing import set_value

    path = Layout(home_folder(os.environ)).config
    known = read_document(path).get("permissions.allow") if path.exists() else None
    rules = [str(each) for each in known.value] if known is not None and isinstance(known.value, list) else []
    if rule not in rules:
        set_value(path, "permissions.allow", [*rules, rule])
    sys.stderr.write(visible(f"saved to {path}: permissions.allow: {rule}\n"))


def can_prompt() -> bool:
    """Return whether the process has a terminal to prompt on."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _decision(approval: Approval, *, approved: bool, scope: ApprovalScope = "once", reason: str = "") -> Decision:
    return Decision(approved=approved, content_hash=approval.content_hash, scope=scope, reason=reason)


def _show(approval: Approval) -> bool:
    """Print an approval; return whether all of it was shown."""
    size = shutil.get_terminal_size()
    shown = fitted(preview_lines(approval), size.columns - 1, size.lines)
    sys.stderr.write("\n" + "\n".join(heading(approval)) + "\n")
    printer = console(sys.stderr)
    for line in shown.lines:
        printer.print(line, overflow="ignore", crop=False, no_wrap=True)
    return shown.whole
