"""Asks whoever sits at the terminal about a tool call, and tells the server what they decided."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from syntor.cli.client import ApiClient, ProblemError
from syntor.stack.layout import Layout, home_folder

Json = dict[str, Any]
_LOOK_EVERY_S = 1.0  # whether somebody else decided meanwhile
_ELSEWHERE = object()


class Approver:
    """Decides on the approvals of one run."""

    def __init__(self, client: ApiClient, *, around: Callable[[], AbstractContextManager[None]] = nullcontext) -> None:
        """Prepare.

        Args:
            around: what gives the terminal back to line input while a question is asked.
        """
        self._client = client
        self._around = around
        self._granted: set[str] = set()

    def ask(self, run_id: str, approval_id: str) -> None:
        """Ask about one approval, unless it was decided elsewhere.

        Raises:
            KeyboardInterrupt: Ctrl-C or the end of input instead of an answer.
            ProblemError: the server refuses the decision.
        """
        path = f"/v1/runs/{run_id}/approvals/{approval_id}"
        approval = self._client.get(path)
        if approval["decision"] is not None:
            return
        if approval["rule"] in self._granted:  # asked for before the grant was given
            self._send(path, {"content_hash": approval["content_hash"], "decided_by": user(), "approved": True})
            return
        sys.stderr.write(f"\n{approval['title']}\n")
        if approval["reason"]:
            sys.stderr.write(f"({approval['reason']})\n")
        if approval["preview"]:
            sys.stderr.write(_indented(approval["preview"]) + "\n")
        with self._around():
            decision = self._decision(approval, lambda: self._client.get(path)["decision"] is None)
        if decision is None:
            sys.stderr.write("(decided elsewhere)\n")
            return
        if decision.get("scope") == "session":
            self._granted.add(approval["rule"])
        self._send(path, decision)

    def _send(self, path: str, decision: Json) -> None:
        try:
            self._client.post(path, decision)
        except ProblemError as exc:
            if exc.status != 409:
                raise
            sys.stderr.write(f"({exc})\n")

    def _decision(self, approval: Json, still_open: Callable[[], bool]) -> Json | None:
        """Return the body to send; None when somebody else decided."""
        rule = approval["rule"]
        choices = "[y] once"
        if rule:
            choices += f"  [s] this session: {rule}  [a] always: {rule}"
        body: Json = {"content_hash": approval["content_hash"], "decided_by": user()}
        while True:
            answer = _line(f"Allow? {choices}  [n] no  ", still_open)
            if answer is _ELSEWHERE:
                return None
            word, _, rest = str(answer).strip().partition(" ")
            match word.lower():
                case "y" | "yes" | "once":
                    return body | {"approved": True}
                case "s" | "session" if rule:
                    return body | {"approved": True, "scope": "session"}
                case "a" | "always" if rule:
                    allow_always(rule)
                    return body | {"approved": True, "scope": "session"}
                case "n" | "no":
                    reason = rest.strip() or _line("Why not? (told to the agent; may be empty)  ", still_open)
                    if reason is _ELSEWHERE:
                        return None
                    return body | {"approved": False, "reason": str(reason).strip()}
                case _:
                    sys.stderr.write("answer y, " + ("s, a " if rule else "") + "or n (with a reason behind it)\n")


def allow_always(rule: str) -> None:
    """Save a rule to `permissions.allow` of the user's configuration, and say so."""
    from syntor.configuration.document import read_document
    from syntor.configuration.editing import set_value

    path = Layout(home_folder(os.environ)).home / "config.yaml"
    known = read_document(path).get("permissions.allow") if path.exists() else None
    rules = [str(each) for each in known.value] if known is not None and isinstance(known.value, list) else []
    if rule not in rules:
        set_value(path, "permissions.allow", [*rules, rule])
    sys.stderr.write(f"saved to {path}: permissions.allow: {rule}\n")


def can_ask() -> bool:
    """Whether there is somebody at a terminal to ask."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _line(prompt: str, still_open: Callable[[], bool]) -> Any:
    """Return a typed line, or `_ELSEWHERE` once the question is settled elsewhere."""
    sys.stderr.write(prompt)
    sys.stderr.flush()
    while not select.select([sys.stdin], [], [], _LOOK_EVERY_S)[0]:
        if not still_open():
            sys.stderr.write("\n")
            return _ELSEWHERE
    line = sys.stdin.readline()
    if not line:
        raise KeyboardInterrupt
    return line


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def user() -> str:
    """Return who decides, for the log."""
    return f"cli:{os.environ.get('USER') or os.environ.get('LOGNAME') or os.getuid()}"
