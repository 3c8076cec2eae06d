"""What the permission engine may look at in the file system: a port, so that the engine stays pure."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from typing import Literal, Protocol

from syntor.agentkit.domain.permissions.constants import joined


class Files(Protocol):
    """Files as they are when a call is judged. Paths are absolute."""

    root: str
    """The workspace."""
    home: str
    """The person's home folder."""

    def kind(self, path: str) -> Literal["file", "folder", "device", ""]:
        """Return what is at a path; empty: nothing."""
        ...

    def resolved(self, path: str) -> str:
        """Return a path with links followed."""
        ...

    def matches(self, pattern: str) -> Sequence[str]:
        """Return the paths that match a pattern with `*` and `?`, without a leading dot only where it says so."""
        ...

    def text(self, path: str) -> str | None:
        """Return a small text file; None: there is none, or it is no text."""
        ...


class NoFiles:
    """A file system with nothing in it, for calls without a workspace."""

    root = "/workspace"
    home = "/home/user"

    def kind(self, path: str) -> Literal["file", "folder", "device", ""]:
        """Return that there is nothing."""
        return ""

    def resolved(self, path: str) -> str:
        """Return the path itself."""
        return path

    def matches(self, pattern: str) -> Sequence[str]:
        """Return no path."""
        return ()

    def text(self, path: str) -> str | None:
        """Return no text."""
        return None


def absolute(files: Files, cwd: str | None, word: str) -> str | None:
    """Return the path a word names in a command; None: known only when it runs."""
    path = joined(cwd, word)
    if path is None:
        return None
    if path == "~" or path.startswith("~/"):
        return posixpath.normpath(files.home + path[1:])
    if path.startswith("~"):
        return f"/home/{path[1:]}"
    return posixpath.normpath(posixpath.join(files.root, path))


def inside(files: Files, path: str) -> str | None:
    """Return a path relative to the workspace; None: it is outside."""
    if path == files.root:
        return ""
    return path[len(files.root.rstrip("/")) + 1 :] if path.startswith(files.root.rstrip("/") + "/") else None
