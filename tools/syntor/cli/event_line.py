"""An event of the log on one line of text."""

from __future__ import annotations

from syntor.cli.event import Event
from syntor.contracts.visible_text import visible

_DATA_CHARACTERS = 100


def event_line(event: Event) -> str:
    """Return position, time, type and aggregate of an event, and the beginning of its data."""
    data = (event.data or b"{}").decode("utf-8", "replace")
    short = data if len(data) <= _DATA_CHARACTERS else data[:_DATA_CHARACTERS] + "..."
    time = f"{event.time:%H:%M:%S.%f}"[:12] if event.time else ""
    return visible(f"{event.position:>8}  {time:<12}  {event.type:<22} {event.subject:<34} {short}")
