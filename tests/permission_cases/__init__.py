"""Commands with the decisions expected, and the files they are judged among."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_FOLDER = Path(__file__).parent


def ordinary_commands() -> list[str]:
    """Return commands of everyday work, none of which may be denied."""
    return list(_records("ordinary_commands.txt"))


def verdicts() -> list[tuple[str, str, str, str]]:
    """Return settings, decision, a text of the reason, and command, of each row."""
    rows: list[tuple[str, str, str, str]] = []
    for record in _records("verdicts.txt"):
        settings, decision, rest = record.split(" | ", 2)
        reason, _, command = rest.partition("| ")
        rows.append((settings, decision, reason.strip(), command))
    return rows


def _records(name: str) -> Iterator[str]:
    """Yield the records of a file: a line, and the lines behind it that start with two blanks."""
    record: list[str] = []
    for line in (_FOLDER / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("  ") and record:
            record.append(line[2:])
        elif line and not line.startswith("# "):
            if record:
                yield "\n".join(record)
            record = [line]
    if record:
        yield "\n".join(record)
