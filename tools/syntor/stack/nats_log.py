"""Finds in the log of nats-server what it says about damaged files: it warns and continues without them."""

from __future__ import annotations

from pathlib import Path

from syntor.stack.log_file import tail

_LINES = 2000  # looked at, at most
_STARTING = "Starting nats-server"
_LEVELS = ("[WRN]", "[ERR]")
_USUAL = "prior state file"  # after a crash: the index is older than the messages, which are read instead
_WORDS = ("checksum", "corrupt", "unmarshalling", "Error adding consumer", "Stopping unsupported", "errored")


def file_warnings(log: Path) -> list[str]:
    """Return what the server warned about its files since it was last started, oldest first."""
    lines = tail(log, _LINES)
    starts = [number for number, line in enumerate(lines) if _STARTING in line]
    recent = lines[starts[-1] :] if starts else lines
    return [
        line.partition("] ")[2].strip()
        for line in recent
        if any(level in line for level in _LEVELS) and any(word in line for word in _WORDS) and _USUAL not in line
    ]
