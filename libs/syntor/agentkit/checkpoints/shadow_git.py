"""Git as a store of contents: a bare repository of our own, which no configuration, hook or attribute reaches.

git never reads or writes the workspace here: files are read by `walk`, written by `restore`. The one exception is
`ignore_rules`, for which git reads `.gitignore` files.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from typing import IO

from syntor.contracts.errors import SyntorError
from syntor.runtime.disk import no_room
from syntor.runtime.private_files import make_private_folder

REFS = "refs/checkpoints"
_TIMEOUT_S = 60.0
_LOCK_WAIT_S = 30.0  # an undo or a checkpoint of another process
_POLL_S = 0.02
_CONFIG = """[core]
\trepositoryformatversion = 1
\tbare = true
\tautocrlf = false
\tprotectNTFS = false
\tprotectHFS = false
\tlogAllRefUpdates = false
\tcompression = 1
\thooksPath = /dev/null
\tattributesFile = /dev/null
\texcludesFile = /dev/null
[extensions]
\tobjectFormat = sha256
[fastimport]
\tunpackLimit = 1
[gc]
\tauto = 0
[diff]
\talgorithm = histogram
"""
_HEAD = "ref: refs/heads/none\n"
NEVER_KEPT = ("node_modules", ".venv", "venv", "__pycache__", ".tox", ".mypy_cache", ".ruff_cache", ".pytest_cache")
"""Folders that can be made again and are large: ignored, and left out whatever their size."""


class CheckpointError(SyntorError):
    """A state cannot be kept or read; says why. Tasks continue without it."""

    code = "checkpoint"


class WorkspaceTooLargeError(CheckpointError):
    """A workspace has too many files, or takes too long to read; that does not change within minutes."""


def object_id(content: bytes) -> str:
    """Return the id git gives a content."""
    return hashlib.sha256(b"blob %d\0" % len(content) + content).hexdigest()


class ShadowGit:
    """One repository. Methods block: call them in a thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def exists(self) -> bool:
        """Whether it was created."""
        return (self.folder / "HEAD").exists()

    def create(self) -> None:
        """Create the repository unless it is there; no other account may enter it.

        Raises:
            CheckpointError: git is not installed, or the folder cannot be written.
        """
        if shutil.which("git") is None:
            raise CheckpointError("git is not installed")
        try:
            make_private_folder(self.folder.parent)
            make_private_folder(self.folder)
            if problem := no_room(str(self.folder)):
                raise CheckpointError(problem)
            if not self.exists:
                for name in ("objects/info", "objects/pack", "refs/heads", "info"):
                    (self.folder / name).mkdir(parents=True, exist_ok=True)
                (self.folder / "config").write_text(_CONFIG)
                (self.folder / "info" / "exclude").write_text("".join(f"{name}/\n" for name in NEVER_KEPT))
                (self.folder / "HEAD").write_text(_HEAD)
        except OSError as exc:
            raise CheckpointError(f"{self.folder}: {exc.strerror or exc}") from exc

    @contextlib.contextmanager
    def locked(self) -> Generator[None, None, None]:
        """Hold the repository's lock: one process at a time reads or changes the workspace's state.

        Raises:
            CheckpointError: another process does not release it.
        """
        end = time.monotonic() + _LOCK_WAIT_S
        with open(self.folder / "lock", "ab") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError:
                    if time.monotonic() > end:
                        text = f"{self.folder} is in use by another process for {_LOCK_WAIT_S:g} s"
                        raise CheckpointError(text) from None
                    time.sleep(_POLL_S)
            yield

    def environ(self, workspace: Path | None = None) -> dict[str, str]:
        """Return the environment of git: nothing of the user's or the project's."""
        own = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.folder),
            "LC_ALL": "C",
            "GIT_DIR": str(self.folder),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_LITERAL_PATHSPECS": "1",
        }
        return own if workspace is None else own | {"GIT_WORK_TREE": str(workspace)}

    def start(
        self, *arguments: str, workspace: Path | None = None, errors: IO[bytes] | int = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        """Start git with pipes.

        Raises:
            CheckpointError: it cannot be started.
        """
        command = ["git", "-c", "core.bare=false", *arguments] if workspace is not None else ["git", *arguments]
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=self.environ(workspace),
                cwd=workspace or self.folder,
                start_new_session=True,  # a terminal's Ctrl-C is for its user
            )
        except OSError as exc:
            raise CheckpointError(f"git cannot be started: {exc.strerror}") from exc

    def run(self, *arguments: str | bytes, given: bytes = b"", timeout_s: float = _TIMEOUT_S) -> bytes:
        """Run git to its end and return its output.

        Raises:
            CheckpointError: it failed, took too long, or is not installed.
        """
        try:
            ended = subprocess.run(
                ["git", *arguments],
                input=given,
                capture_output=True,
                env=self.environ(),
                cwd=self.folder,
                timeout=timeout_s,
                check=False,
                start_new_session=True,
            )
        except subprocess.TimeoutExpired as exc:
            raise CheckpointError(f"git {_name(arguments)} took longer than {timeout_s:g} s") from exc
        except OSError as exc:
            what = "git is not installed" if shutil.which("git") is None else f"{self.folder}: {exc.strerror}"
            raise CheckpointError(what) from exc
        if ended.returncode != 0:
            raise CheckpointError(f"git {_name(arguments)}: {_last_line(ended.stderr)}")
        return ended.stdout

    def require(self, objects: Iterable[str]) -> None:
        """Check that contents are kept.

        Raises:
            CheckpointError: one is not kept any more.
        """
        given = "".join(f"{each}\n" for each in dict.fromkeys(objects)).encode()
        for line in self.run("cat-file", "--batch-check", given=given).splitlines() if given else ():
            if line.endswith(b" missing"):
                raise CheckpointError(f"a content the undo needs is not kept any more in {self.folder}")

    def contents(self, objects: Iterable[str]) -> Generator[bytes, None, None]:
        """Yield the contents of objects (ids, or `<commit>:<path>`), in order.

        Raises:
            CheckpointError: one is not kept any more.
        """
        process = self.start("cat-file", "--batch")
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            for each in objects:
                process.stdin.write(each.encode() + b"\n")
                process.stdin.flush()
                words = process.stdout.readline().split()
                if len(words) != 3:
                    raise CheckpointError(f"{each} is not kept (any more) in {self.folder}")
                content = process.stdout.read(int(words[2]))
                process.stdout.read(1)
                yield content
        except OSError as exc:
            raise CheckpointError(f"git cat-file ended: {exc}") from exc
        finally:
            close(process)


def close(process: subprocess.Popen[bytes]) -> int:
    """Close the pipes of a process, kill it if it does not end, and return its exit code."""
    with contextlib.suppress(OSError):
        if process.stdin is not None:
            process.stdin.close()
    if process.stdout is not None:
        process.stdout.close()
    try:
        return process.wait(1.0)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


@contextlib.contextmanager
def killed_after(process: subprocess.Popen[bytes], seconds: float) -> Generator[None, None, None]:
    """Kill a process when the block takes longer: what is read from it then ends."""
    timer = threading.Timer(seconds, process.kill)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _name(arguments: Sequence[str | bytes]) -> str:
    first = arguments[0]
    return first.decode() if isinstance(first, bytes) else first


def _last_line(errors: bytes) -> str:
    lines = errors.decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:500] if lines else "failed without a reason"
