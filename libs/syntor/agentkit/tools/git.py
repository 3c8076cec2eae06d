"""Tools that look at a git repository: git_status, git_diff, git_log."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import msgspec

from syntor.agentkit.tools.tool import Tool, ToolError, bounded

_TIMEOUT_S = 20.0


class GitStatus(msgspec.Struct, frozen=True):
    """Arguments of git_status."""


class GitDiff(msgspec.Struct, frozen=True):
    """Arguments of git_diff."""

    staged: bool = False
    path: str = "."


class GitLog(msgspec.Struct, frozen=True):
    """Arguments of git_log."""

    count: int = 10
    path: str = "."


async def _git(workspace: Path, *arguments: str) -> str:
    """Run git without a pager, hooks' output or a question; raises ToolError with what it said."""
    command = ["git", "--no-pager", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", *arguments]
    environ = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environ |= {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "GIT_EXTERNAL_DIFF": ""}
    try:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=workspace, env=environ, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
    except OSError as exc:
        raise ToolError(f"git could not be run: {exc.strerror}") from exc
    try:
        output, errors = await asyncio.wait_for(process.communicate(), _TIMEOUT_S)
    except (TimeoutError, asyncio.CancelledError) as exc:
        process.kill()
        await process.wait()
        if isinstance(exc, asyncio.CancelledError):
            raise
        raise ToolError(f"git took longer than {_TIMEOUT_S:g} s") from exc
    if process.returncode != 0:
        raise ToolError(errors.decode("utf-8", "replace").strip() or f"git ended with {process.returncode}")
    return bounded(output.decode("utf-8", "replace").strip())


async def git_status(workspace: Path, _: GitStatus) -> str:
    """Return branch and changed files."""
    return await _git(workspace, "status", "--short", "--branch") or "nothing has changed"


async def git_diff(workspace: Path, arguments: GitDiff) -> str:
    """Return what changed, staged or not."""
    staged = ["--staged"] if arguments.staged else []
    diff = await _git(workspace, "diff", "--no-ext-diff", "--no-textconv", *staged, "--", arguments.path)
    return diff or "no difference"


async def git_log(workspace: Path, arguments: GitLog) -> str:
    """Return the newest commits, one line each."""
    count = max(1, min(arguments.count, 100))
    return await _git(workspace, "log", f"-{count}", "--date=short", "--format=%h %ad %an %s", "--", arguments.path)


GIT_TOOLS = (
    Tool("git_status", "Show the branch and changed files.", GitStatus, git_status, lambda arguments: []),
    Tool("git_diff", "Show changes; staged=true for the index.", GitDiff, git_diff, lambda arguments: [arguments.path]),
    Tool("git_log", "Show the newest commits.", GitLog, git_log, lambda arguments: [arguments.path]),
)
