"""Finds what a workspace must keep from models and from commits: values of files with secrets, and files with keys."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

from syntor.agentkit.domain.secret_files import is_secret
from syntor.agentkit.domain.secret_text import secret_values, without_secrets
from syntor.agentkit.tools.judged_files import JudgedFiles
from syntor.agentkit.tools.sandbox import Sandbox
from syntor.runtime.redaction import holds_key

_MAX_ENTRIES, _MAX_DEPTH, _MAX_STAGED = 5000, 4, 2000
_SKIPPED = frozenset({".git", "node_modules", "__pycache__", ".venv", "venv", ".mypy_cache", ".ruff_cache", "target"})
_STATUS = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")


def hide_secrets(workspace: Path, text: str) -> str:
    """Return a tool's result without what the workspace's files with secrets hold."""
    values: set[str] = set()
    files = JudgedFiles(workspace)
    for path in _secret_files(workspace):
        values |= secret_values(files.text(path) or "")
    return without_secrets(text, values)


def _secret_files(workspace: Path) -> Iterator[str]:
    """Yield the files that may hold secrets, near the top of a workspace."""
    entries, pending = 0, [(str(workspace), 0)]
    while pending and entries < _MAX_ENTRIES:
        folder, depth = pending.pop(0)
        try:
            found = list(os.scandir(folder))
        except OSError:
            continue
        entries += len(found)
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                if depth < _MAX_DEPTH and entry.name not in _SKIPPED:
                    pending.append((entry.path, depth + 1))
            elif is_secret(PurePath(os.path.relpath(entry.path, workspace))):
                yield entry.path


async def staged_secrets(sandbox: Sandbox, workspace: Path, paths: Sequence[str]) -> tuple[str, ...]:
    """Return the changed files below some paths that may hold secrets, by name or by content.

    Args:
        paths: relative to the workspace.
    """
    command = [
        "git",
        "--no-optional-locks",
        *_STATUS,
        "-c",
        f"safe.directory={workspace}",
        "status",
        "--porcelain",
        "-z",
    ]
    named = [path for path in paths if is_secret(PurePath(path))]  # also an ignored one that is added by force
    try:
        ended = await sandbox.run([*command, "--untracked-files=all", "--no-renames", "--", *paths], timeout_s=30.0)
    except (OSError, ValueError):
        return tuple(named)
    if ended.code != 0:
        return tuple(named)
    names = [entry[3:] for entry in ended.output.split("\0") if len(entry) > 3 and "D" not in entry[:2]]
    files = JudgedFiles(workspace)
    found = [
        name
        for name in names[:_MAX_STAGED]
        if is_secret(PurePath(name)) or holds_key(files.text(os.path.join(workspace, name)) or "")
    ]
    return tuple(dict.fromkeys((*named, *found)))
