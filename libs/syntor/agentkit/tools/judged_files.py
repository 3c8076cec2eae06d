"""The file system as the permission engine sees it. Nothing is changed, and only small regular files are opened."""

from __future__ import annotations

import glob
import itertools
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

_MAX_TEXT_BYTES = 64 * 1024
_MAX_MATCHES = 1000


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
        """Return the first paths that match a pattern."""
        try:
            return list(itertools.islice(glob.iglob(pattern), _MAX_MATCHES))
        except (OSError, ValueError):
            return ()

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
