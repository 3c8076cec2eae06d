"""Finds the repository a workspace belongs to: its own, one above it, a linked worktree's or a submodule's."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import msgspec

from syntor.agentkit.domain.tool_error import ToolError

_MAX_BYTES = 64 * 1024
_WORKTREE = re.compile(r"^\s*worktree\s*=\s*(.+?)\s*$", re.MULTILINE | re.IGNORECASE)


class Repository(msgspec.Struct, frozen=True):
    """A repository with a working tree."""

    root: Path
    """Top folder of the working tree."""
    git_dir: Path
    common_dir: Path
    """Differs from `git_dir` in a linked worktree."""


def find_repository(workspace: Path) -> Repository:
    """Return the repository of a workspace; links are followed only as far as git itself made them.

    A `.git` file is believed where the folder it names refers back to it: else a file written into the workspace could
    bring any repository of the user into reach.

    Raises:
        ToolError: there is none, or `.git` leads to one that does not belong to this folder.
    """
    real = workspace.resolve()
    for folder in (real, *real.parents):
        dot_git = folder / ".git"
        if not os.path.lexists(dot_git):
            continue
        if dot_git.is_dir():
            if not dot_git.resolve().is_relative_to(folder):
                raise ToolError(f"{dot_git} is a link to another place")
            if (dot_git / "HEAD").exists() or (dot_git / "HEAD").is_symlink():
                return Repository(folder, dot_git, dot_git)
        elif pointed := _pointed(folder, dot_git):
            return pointed
    raise ToolError("not a git repository: there is no .git here or above; use git_clone, or bash with git init")


def protected_paths(workspace: Path) -> list[Path]:
    """Return the files and folders of git in a workspace that decide which programs git runs."""
    found: list[Path] = []
    git_dir = workspace / ".git"
    if git_dir.is_symlink() or not git_dir.exists():
        return []
    if git_dir.is_file():
        return [git_dir]
    folders = [git_dir, *_folders(git_dir / "modules", 4), *_folders(git_dir / "worktrees", 1)]
    for folder in folders:
        found += [folder / name for name in ("config", "config.worktree", "hooks", "commondir", "gitdir")]
    return [path for path in found if path.exists() and not path.is_symlink()]


def _folders(folder: Path, depth: int) -> list[Path]:
    """Return folders below a folder that look like git's; names of submodules may have slashes."""
    found: list[Path] = []
    if depth and folder.is_dir() and not folder.is_symlink():
        for entry in sorted(folder.iterdir())[:1000]:
            if entry.is_dir() and not entry.is_symlink():
                is_git = (entry / "HEAD").exists()
                found += [entry, *_folders(entry / "modules", depth - 1)] if is_git else _folders(entry, depth - 1)
    return found


def _pointed(folder: Path, dot_git: Path) -> Repository | None:
    text = _read(dot_git)
    if not text.startswith("gitdir: "):
        return None
    git_dir = (folder / text.removeprefix("gitdir: ").strip()).resolve()
    if not git_dir.is_dir():
        raise ToolError(f"{dot_git} leads to {git_dir}, which is no folder; git worktree repair may help")
    common = git_dir
    if (git_dir / "commondir").is_file():
        common = (git_dir / _read(git_dir / "commondir").strip()).resolve()
        knows = git_dir.parent == common / "worktrees" and Path(_read(git_dir / "gitdir").strip()).resolve() == dot_git
    else:
        named = _WORKTREE.search(_read(git_dir / "config"))
        knows = named is not None and (git_dir / named[1].strip('"')).resolve() == folder
    if not knows and not git_dir.is_relative_to(folder):
        raise ToolError(f"{dot_git} leads to {git_dir}, which does not name this folder as its working tree")
    return Repository(folder, git_dir, common)


def _read(path: Path) -> str:
    """Return a short regular file as text; empty where there is none."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(file, _MAX_BYTES).decode("utf-8", "replace") if stat.S_ISREG(os.fstat(file).st_mode) else ""
    finally:
        os.close(file)
