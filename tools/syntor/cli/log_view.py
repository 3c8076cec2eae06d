"""Shows log files: the last lines of several files merged by time, then appended lines."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from syntor.contracts.visible_text import visible
from syntor.stack.log_file import tail

_POLL_S = 0.2
_TIME = re.compile(r'"timestamp":"([^"]+)"')  # our services, ISO 8601 in UTC
_NATS_TIME = re.compile(r"\[\d+\] (\d{4})/(\d\d)/(\d\d) (\d\d:\d\d:\d\d\.\d+)")  # nats-server, local time


def show(paths: Mapping[str, Path], *, lines: int, follow: bool, named: bool) -> None:
    """Write the last `lines` lines of the files to standard output; with `follow`, continue until interrupted.

    Args:
        named: put the name of the service before each line.
    """
    width = max((len(name) for name, path in paths.items() if path.exists()), default=0) if named else 0
    sizes = {name: path.stat().st_size if path.exists() else 0 for name, path in paths.items()}
    for name, line in _last(paths, lines):
        _write(name, line, width)
    sys.stdout.flush()
    while follow:
        time.sleep(_POLL_S)
        for name, path in paths.items():
            for line in _added(path, sizes, name):
                _write(name, line, width)
        sys.stdout.flush()


def _write(name: str, line: str, width: int) -> None:
    shown = visible(line)
    sys.stdout.write(f"{name:<{width}} | {shown}\n" if width else f"{shown}\n")


def _last(paths: Mapping[str, Path], lines: int) -> list[tuple[str, str]]:
    """Return the newest lines of all files, by time; a line without one stays after the line before it."""
    found: list[tuple[str, int, str, str]] = []
    for name, path in paths.items():
        moment = ""
        for number, line in enumerate(tail(path, lines)):
            moment = _moment(line) or moment
            found.append((moment, number, name, line))
    if len(paths) > 1:
        found.sort(key=lambda item: (item[0], item[2], item[1]))
    return [(name, line) for _, _, name, line in found[len(found) - min(lines, len(found)) :]]


def _moment(line: str) -> str:
    """Return the time of a line as ISO 8601 in UTC; empty when it has none."""
    if found := _TIME.search(line):
        return found[1].replace("Z", "").replace("+00:00", "")
    if found := _NATS_TIME.match(line):
        local = time.strptime(f"{found[1]}-{found[2]}-{found[3]} {found[4][:8]}", "%Y-%m-%d %H:%M:%S")
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.mktime(local))) + found[4][8:]
    return ""


def _added(path: Path, sizes: dict[str, int], name: str) -> list[str]:
    """Return the whole lines appended since the last call; a truncated file is read from its start."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            if size < sizes[name]:
                sizes[name] = 0
            file.seek(sizes[name])
            text, _, _ = file.read(size - sizes[name]).rpartition(b"\n")
    except FileNotFoundError:
        return []
    if not text:
        return []
    sizes[name] += len(text) + 1
    return text.decode("utf-8", "replace").split("\n")
