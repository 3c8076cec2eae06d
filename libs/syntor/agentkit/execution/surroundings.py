"""Reads what a prompt says about where an agent works: instruction files, branch, platform. Runs nothing.

Instruction files are AGENTS.md, or CLAUDE.md where there is none, of the home folder, of the repository's root and of
each folder from there down to the workspace: the nearest comes last and takes precedence. Only regular files count;
links are not followed, and a pipe is not waited for.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import stat
from pathlib import Path

import msgspec

NAMES = ("AGENTS.md", "CLAUDE.md")
MAX_FILE_BYTES = 32 * 1024
MAX_FOLDERS = 20  # from the workspace up to the root of its repository
_MAX_HEAD_BYTES = 4096
_BRANCH = re.compile(r"ref: refs/heads/([^\x00-\x20\x7f~^:?*\[\\]{1,200})\Z")
_COMMIT = re.compile(r"[0-9a-f]{40,64}\Z")


class InstructionFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of instructions."""

    path: str
    text: str
    size_bytes: int
    """Of the whole file."""
    sha256: str
    """Of the text, the first 12 hexadecimal digits."""

    @property
    def is_cut(self) -> bool:
        """Whether only its beginning is in the text."""
        return self.size_bytes > len(self.text.encode())


def read_instructions(home: Path, workspace: Path | None, most_bytes: int) -> list[InstructionFile]:
    """Return the instruction files for a workspace, those of the widest scope first; blocks for a few reads.

    Args:
        most_bytes: of all files together; what is nearest to the workspace is read first.
    """
    left = most_bytes
    found: list[InstructionFile] = []
    for folder in [*(_folders(workspace) if workspace is not None else []), home]:
        for name in NAMES if folder != home else NAMES[:1]:
            file = _read(folder / name, min(left, MAX_FILE_BYTES))
            if file is not None:
                left -= len(file.text.encode())
                found.append(file)
                break
    return found[::-1]


def branch_of(workspace: Path) -> str:
    """Return the branch of the workspace's repository, or `commit <id>`; empty: none can be read."""
    root = _root(workspace)
    if root is None:
        return ""
    git = root / ".git"
    if not git.is_dir():  # a linked worktree or a submodule: a file that names the folder
        line = _text(git).strip()
        if not line.startswith("gitdir: "):
            return ""
        git = root / line.removeprefix("gitdir: ")
    head = _text(git / "HEAD").strip()
    if branch := _BRANCH.match(head):
        return branch[1]
    return f"commit {head[:12]}" if _COMMIT.match(head) else ""


def system_name() -> str:
    """Return the operating system and the processor."""
    return f"{platform.system()} {platform.machine()}".strip()


def _folders(workspace: Path) -> list[Path]:
    """Return the workspace and the folders above it up to the root of its repository; only itself in none."""
    try:
        folder = workspace.resolve()
    except (OSError, RuntimeError):
        return []
    root = _root(folder)
    folders = [folder]
    while root is not None and folders[-1] != root and len(folders) < MAX_FOLDERS:
        folders.append(folders[-1].parent)
    return folders


def _root(folder: Path) -> Path | None:
    for each in (folder, *folder.parents)[:MAX_FOLDERS]:
        if os.path.lexists(each / ".git"):
            return each
    return None


def _read(path: Path, limit: int) -> InstructionFile | None:
    """Return the beginning of a regular file; None: it is none, or empty, or nothing of it may be read."""
    if limit <= 0 or (opened := _open(path, limit)) is None:
        return None
    raw, size = opened
    text = raw.decode("utf-8", "ignore").replace("\0", "")
    if not text.strip():
        return None
    return InstructionFile(
        path=os.fsencode(path).decode("utf-8", "replace"),
        text=text,
        size_bytes=size,
        sha256=hashlib.sha256(text.encode()).hexdigest()[:12],
    )


def _text(path: Path) -> str:
    opened = _open(path, _MAX_HEAD_BYTES)
    return opened[0].decode("utf-8", "replace") if opened is not None else ""


def _open(path: Path, limit: int) -> tuple[bytes, int] | None:
    """Return at most `limit` bytes of a regular file and its size; None: there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return None
        return os.read(descriptor, limit), status.st_size
    except OSError:
        return None
    finally:
        os.close(descriptor)
