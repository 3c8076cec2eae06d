"""Asks git which paths of a workspace are ignored.

`.gitignore` files are strangers' text: they are evaluated by a process, which has a deadline.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from syntor.agentkit.checkpoints.shadow_git import ShadowGit, close, killed_after

_CHUNK_BYTES = 16 * 1024  # of paths written before the answers are read: fits into a pipe, so that neither side waits
_FIELDS = 4  # of an answer: source, line, pattern, path


class IgnoreRules:
    """The rules of one workspace, for one walk."""

    def __init__(self, git: ShadowGit, workspace: Path, *, timeout_s: float) -> None:
        self._process = git.start(
            "check-ignore", "--stdin", "-z", "--verbose", "--non-matching", "--no-index", workspace=workspace
        )
        self._left_s = timeout_s
        self._buffer = b""
        self.broken = False
        """Whether git failed or took too long: from then on nothing counts as ignored."""

    def __enter__(self) -> IgnoreRules:
        """Use it; the process ends with the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process."""
        close(self._process)

    def ignored(self, paths: Sequence[bytes]) -> set[bytes]:
        """Return those of the paths that are ignored."""
        found: set[bytes] = set()
        chunk: list[bytes] = []
        size = 0
        for path in paths:
            chunk.append(path)
            size += len(path) + 1
            if size > _CHUNK_BYTES:
                found |= self._answers(chunk)
                chunk, size = [], 0
        return found | self._answers(chunk) if chunk else found

    def _answers(self, paths: list[bytes]) -> set[bytes]:
        if self.broken:
            return set()
        began = time.monotonic()
        try:
            with killed_after(self._process, max(self._left_s, 0.01)):
                fields = self._exchange(paths)
        except (OSError, EOFError):
            self.broken = True
            return set()
        self._left_s -= time.monotonic() - began
        patterns = fields[2::_FIELDS]
        return {
            path for path, pattern in zip(paths, patterns, strict=False) if pattern and not pattern.startswith(b"!")
        }

    def _exchange(self, paths: list[bytes]) -> list[bytes]:
        given, answers = self._process.stdin, self._process.stdout
        assert given is not None
        assert answers is not None
        given.write(b"".join(path + b"\0" for path in paths))
        given.flush()
        wanted = _FIELDS * len(paths)
        parts = [self._buffer]
        while sum(part.count(b"\0") for part in parts) < wanted:
            part = os.read(answers.fileno(), 1 << 16)
            if not part:
                raise EOFError
            parts.append(part)
        fields = b"".join(parts).split(b"\0")
        self._buffer = b"\0".join(fields[wanted:])
        return fields[:wanted]
