"""The file system as the permission engine sees it. Nothing is changed, and only small regular files are opened."""

from __future__ import annotations

import fnmatch
import itertools
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

_MAX_TEXT_BYTES = 64 * 1024
_MAX_MATCHES = 1000
_MAX_ENTRIES = 20_000  # of folders, looked at for one pattern: `/*/*/*/*` names the whole disk


class JudgedFiles:
    """Files of one workspace and around it; see `permissions.files.Files`."""

    def __init__(self, workspace: Path, home: Path | None = None) -> None:
        self.root = os.path.realpath(workspace)
        self.home = str(home or Path.home())

    def kind(self, path: str) -> Literal["file", "folder", "device", ""]:
        """Return what is at a path; empty: nothing, or nothing that can be reached."""
        try:
            mode = os.stat(path).st_mode
        except (OSError, ValueError):
            return ""
        if stat.S_ISDIR(mode):
            return "folder"
        return "file" if stat.S_ISREG(mode) else "device"

    def resolved(self, path: str) -> str:
        """Return a path with links followed; the path itself where they cannot be."""
        try:
            return os.path.realpath(path)
        except (OSError, ValueError):
            return path

    def matches(self, pattern: str) -> Sequence[str]:
        """Return the first paths that match an absolute pattern, of those that are found with a bounded effort."""
        entries = itertools.islice(itertools.count(), _MAX_ENTRIES)
        parts = [part for part in pattern.replace("[", "[[]").split("/") if part]
        return list(itertools.islice(_matching("/", parts, entries), _MAX_MATCHES))

    def text(self, path: str) -> str | None:
        """Return a small text file; None: there is none, or it is no text."""
        try:
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_TEXT_BYTES:
                return None
            with open(path, "rb") as file:
                data = file.read(_MAX_TEXT_BYTES)
        except (OSError, ValueError):
            return None
        return None if b"\0" in data else data.decode("utf-8", "replace")


def _matching(folder: str, parts: Sequence[str], entries: Iterator[int]) -> Iterator[str]:
    """Yield the paths below a folder that match; each entry looked at takes one of `entries`."""
    part, *rest = parts or [""]
    if not any(sign in part for sign in "*?"):
        path = os.path.join(folder, part.replace("[[]", "["))
        if rest:
            yield from _matching(path, rest, entries)
        elif os.path.lexists(path):
            yield path
        return
    try:
        with os.scandir(folder) as found:
            for entry in found:
                if next(entries, None) is None:
                    return
                if entry.name.startswith(".") and not part.startswith("."):
                    continue
                if fnmatch.fnmatchcase(entry.name, part):
                    if not rest:
                        yield entry.path
                    elif entry.is_dir():
                        yield from _matching(entry.path, rest, entries)
    except (OSError, ValueError):
        return
