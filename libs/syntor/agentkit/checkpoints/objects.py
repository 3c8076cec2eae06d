"""Writes contents and a state into a shadow repository, through one `git fast-import` that is started when needed."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterable
from typing import IO

from syntor.agentkit.checkpoints.shadow_git import CheckpointError, ShadowGit, close, object_id

GIT_LINK, GIT_FILE, GIT_EXECUTABLE = 0o120000, 0o100644, 0o100755
_SPECIAL = frozenset(b'"\\\n')


class ObjectWriter:
    """Contents of one checkpoint; nothing of it counts until `commit` returns."""

    def __init__(self, git: ShadowGit) -> None:
        self._git = git
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self._written: set[str] = set()

    def add(self, content: bytes) -> str:
        """Add a content and return its id.

        Raises:
            CheckpointError: git cannot write it.
        """
        found = object_id(content)
        if found not in self._written:
            self._write(b"blob\ndata %d\n" % len(content), content, b"\n")
            self._written.add(found)
        return found

    def commit(self, ref: str, base: str, changed: Iterable[tuple[bytes, int, str]], removed: Iterable[bytes]) -> str:
        """Store a state and return its id.

        Args:
            base: tree of the state it differs from; empty: from none.
            changed: path, git's mode and content of what is new.
            removed: paths of the base that are gone.

        Raises:
            CheckpointError: git cannot store it; the repository is as before.
        """
        lines = [b"commit %s\nmark :1\ncommitter syntor <syntor> 0 +0000\ndata 0\n" % ref.encode()]
        if base:
            lines.append(b'M 040000 %s ""\n' % base.encode())
        lines += [b"D " + _quoted(path) + b"\n" for path in removed]
        lines += [b"M %o %s " % (mode, content.encode()) + _quoted(path) + b"\n" for path, mode, content in changed]
        lines.append(b"get-mark :1\ndone\n")
        self._write(*lines)
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.close()
            found = process.stdout.read().decode().strip()
        except OSError as exc:
            raise self._failure() from exc
        if process.wait() != 0 or not found:
            raise self._failure()
        return found

    def close(self) -> None:
        """End the process; what was added and not committed is gone."""
        if self._process is not None:
            if self._process.poll() is None:
                self._process.kill()
            close(self._process)
        self._errors.close()

    def _write(self, *parts: bytes) -> None:
        if self._process is None:
            self._process = self._git.start("fast-import", "--quiet", "--done", "--force", errors=self._errors)
        assert self._process.stdin is not None
        try:
            for part in parts:
                self._process.stdin.write(part)
        except OSError as exc:
            raise self._failure() from exc

    def _failure(self) -> CheckpointError:
        """Return the error, and remove what git left behind; the repository's lock is held."""
        if self._process is not None:
            close(self._process)
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        reason = next((line for line in lines if line.startswith(("fatal:", "error:"))), "ended without a reason")
        for left in (*self._git.folder.glob("objects/pack/tmp_*"), *self._git.folder.glob("fast_import_crash_*")):
            left.unlink(missing_ok=True)
        return CheckpointError(f"git fast-import: {reason[:500]}")


def git_mode(mode: int, *, link: bool) -> int:
    """Return the mode git keeps for a file or link."""
    return GIT_LINK if link else GIT_EXECUTABLE if mode & 0o100 else GIT_FILE


def _quoted(path: bytes) -> bytes:
    if not _SPECIAL.intersection(path) and not path.startswith(b" "):
        return path
    return b'"' + path.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n") + b'"'
