"""One finding of a diagnosis."""

from __future__ import annotations

import msgspec

OK, NOTE, PROBLEM = "ok", "note", "problem"
_MARKS = {OK: "✓", NOTE: "!", PROBLEM: "✗"}


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """Subject, state and detail of one check."""

    name: str
    state: str
    """ok, note or problem."""
    detail: str
    fix: str = ""
    """How to fix it."""

    def line(self) -> str:
        """Return it as text."""
        return f"{_MARKS[self.state]} {self.name}: {self.detail}" + (f"\n    → {self.fix}" if self.fix else "")


def ok(name: str, detail: str) -> Finding:
    """Return a finding without a problem."""
    return Finding(name, OK, detail)


def note(name: str, detail: str, fix: str = "") -> Finding:
    """Return a finding that needs no action."""
    return Finding(name, NOTE, detail, fix)


def problem(name: str, detail: str, fix: str = "") -> Finding:
    """Return a finding that needs a fix."""
    return Finding(name, PROBLEM, detail, fix)
