"""Output and exit codes of commands: data on standard output, everything else on standard error."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from typing import Any, NoReturn

import msgspec

from syntor.contracts.visible_text import visible


class ExitCode(IntEnum):
    """Exit codes of commands."""

    DONE = 0
    RUN_FAILED = 1
    USAGE = 2
    CONFIGURATION = 3
    NOT_REACHABLE = 4
    APPROVAL_NEEDED = 5
    LIMIT = 6
    MISMATCH = 7
    INTERRUPTED = 130
    TERMINATED = 143


class Format(StrEnum):
    """Output format."""

    TEXT = "text"
    JSON = "json"
    STREAM_JSON = "stream-json"


def fail(message: str, code: ExitCode, hint: str = "") -> NoReturn:
    """Print an error and a hint on standard error and end the process with `code`."""
    sys.stderr.write(f"error: {visible(message)}\n")
    if hint:
        sys.stderr.write(f"  {visible(hint)}\n")
    raise SystemExit(int(code))


def print_json(obj: Any) -> None:
    """Print one JSON document on a line of its own."""
    sys.stdout.write(msgspec.json.encode(obj).decode() + "\n")
    sys.stdout.flush()


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return columns, aligned, two spaces apart; the last one is not padded. Nothing in a cell is hidden."""
    lines = [list(headers), *([visible(" ".join(cell.splitlines())) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def print_event(event: bytes) -> None:
    """Print the JSON object of one event on a line of its own, as the server sent it."""
    sys.stdout.write(event.decode() + "\n")
    sys.stdout.flush()


def short_time(at: datetime) -> str:
    """Return an instant for a table, to the second, UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def first_line(text: str, width: int = 60) -> str:
    """Return the beginning of a text for a table."""
    return visible((text.strip().splitlines() or [""])[0][:width])
