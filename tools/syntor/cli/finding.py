"""One line of a diagnosis."""

from __future__ import annotations

import msgspec

OK, NOTE, PROBLEM = "ok", "note", "problem"
_MARKS = {OK: "✓", NOTE: "!", PROBLEM: "✗"}


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was looked at, and how it is."""

    name: str
    state: str
    """ok, note (worth knowing) or problem."""
    detail: str
    fix: str = ""
    """What to do about it."""

    def line(self) -> str:
        """Return it for people."""
        return f"{_MARKS[self.state]} {self.name}: {self.detail}" + (f"\n    → {self.fix}" if self.fix else "")


def ok(name: str, detail: str) -> Finding:
    """All is well."""
    return Finding(name, OK, detail)


def note(name: str, detail: str, fix: str = "") -> Finding:
    """Worth knowing, nothing is broken."""
    return Finding(name, NOTE, detail, fix)


def problem(name: str, detail: str, fix: str = "") -> Finding:
    """Something does not work."""
    return Finding(name, PROBLEM, detail, fix)
