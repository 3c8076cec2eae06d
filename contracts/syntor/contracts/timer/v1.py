"""Timer events, schema version 1. Frozen once released: only optional fields are added."""

from __future__ import annotations

import msgspec


class TimerDue(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A schedule fired."""

    name: str
    """What it was set for: `task_deadline`, `run_deadline` or `wait_expired`."""
    task_id: str = ""
    """Task it concerns, if one."""
    attempt: int = 0
    """Attempt it concerns; a timer of an earlier attempt changes nothing."""
    resume: int = 0
    """Resume number it concerns, in the same way."""
    wait_id: str = ""
    """What is not waited for any more, for `wait_expired`."""


TimerEvent = TimerDue
EVENTS: tuple[type[TimerDue], ...] = (TimerDue,)
