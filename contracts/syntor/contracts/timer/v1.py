"""Timer events, schema version 1. Frozen once released: only optional fields are added."""

from __future__ import annotations

import msgspec

from syntor.contracts.bounds import Count, Id
from syntor.contracts.vocabulary import TimerName


class TimerFired(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A timer fired."""

    name: TimerName
    """What it was set for."""
    task_id: Id = ""
    """Task it concerns, if one."""
    attempt: Count = 0
    """Attempt it concerns; a timer of an earlier attempt changes nothing."""
    resume: Count = 0
    """Resume number it concerns, in the same way."""
    wait_id: Id = ""
    """What is no longer waited for, for `wait_expired`."""


TimerEvent = TimerFired
EVENTS: tuple[type[TimerFired], ...] = (TimerFired,)
