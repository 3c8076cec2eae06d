"""The files an approval is bound to: those a call writes, and those a command names as programs.

They are hashed when the approval is requested and again right before the call: an approval is for this content only.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from syntor.agentkit.domain.permissions.programs import program_files
from syntor.agentkit.domain.tool_policy import ProposedCall
from syntor.agentkit.tools.judged_files import JudgedFiles
from syntor.contracts.bounds import MAX_LINE
from syntor.contracts.task.v1 import BoundFile

_MAX_FILES = 64


def bind_files(call: ProposedCall, workspace: Path) -> list[BoundFile]:
    """Return the files a call's approval is bound to, with their content now."""
    if call.tool == "bash":
        files = JudgedFiles(workspace)
        paths = [Path(path) for path in program_files(call.subject, files)]
    elif call.effect == "write":
        paths = [Path(each.resolved) for each in call.paths if each.resolved is not None]
    else:
        return []
    root = workspace.resolve()
    named = [str(path.relative_to(root)) if path.is_relative_to(root) else str(path) for path in paths]
    kept = [name for name in named if len(name) <= MAX_LINE][:_MAX_FILES]
    return [BoundFile(path=name, sha256=_digest(root / name)) for name in kept]


def changed_files(bound: Iterable[BoundFile], workspace: Path) -> list[str]:
    """Return the files whose content is another than an approval was given for."""
    return [each.path for each in bound if _digest(workspace.resolve() / each.path) != each.sha256]


def _digest(path: Path) -> str:
    """Return the SHA-256 of a regular file; empty: there is none."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return ""
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return ""
