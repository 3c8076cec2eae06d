"""Tools for a git repository. Hooks do not run, and git never takes a model's text for an option."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, cast

import msgspec
from msgspec import Meta

from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.tools.tool import Tool, ToolRun, bounded
from syntor.contracts.vocabulary import ToolEffect

_TIMEOUT_S, _NETWORK_TIMEOUT_S = 30.0, 300.0
_SAFE = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "protocol.ext.allow=never")
_URL = ("https://", "http://", "ssh://", "git@", "git://", "file://", "/", "./", "../")


class GitStatus(msgspec.Struct, frozen=True):
    """Arguments of git_status."""


class GitDiff(msgspec.Struct, frozen=True):
    """Arguments of git_diff."""

    staged: Annotated[bool, Meta(description="Show what is staged instead of what is not")] = False
    path: Annotated[str, Meta(description="File or folder")] = "."


class GitLog(msgspec.Struct, frozen=True):
    """Arguments of git_log."""

    count: Annotated[int, Meta(description="Number of commits, at most 100")] = 10
    path: Annotated[str, Meta(description="Only commits that change this file or folder")] = "."


class GitAdd(msgspec.Struct, frozen=True):
    """Arguments of git_add."""

    paths: Annotated[list[str], Meta(description="Files or folders to stage")]


class GitCommit(msgspec.Struct, frozen=True):
    """Arguments of git_commit."""

    message: Annotated[str, Meta(description="Commit message: a subject line, a blank line, a body")]


class GitBranch(msgspec.Struct, frozen=True):
    """Arguments of git_branch."""

    name: Annotated[str, Meta(description="Branch to make; empty: list branches")] = ""


class GitCheckout(msgspec.Struct, frozen=True):
    """Arguments of git_checkout."""

    ref: Annotated[str, Meta(description="Branch or commit")]
    create: Annotated[bool, Meta(description="Make it as a new branch")] = False


class GitMerge(msgspec.Struct, frozen=True):
    """Arguments of git_merge."""

    ref: Annotated[str, Meta(description="Branch or commit to merge")]


class GitClone(msgspec.Struct, frozen=True):
    """Arguments of git_clone."""

    url: Annotated[str, Meta(description="Repository: https://, ssh:// or a path")]
    folder: Annotated[str, Meta(description="New folder of the workspace")]


class GitRemote(msgspec.Struct, frozen=True):
    """Arguments of git_pull and git_push."""

    remote: Annotated[str, Meta(description="Name of the remote")] = "origin"
    branch: Annotated[str, Meta(description="Branch; empty: the current one")] = ""


async def _git(run: ToolRun, *arguments: str, network: bool = False, env: dict[str, str] | None = None) -> str:
    """Run git in the workspace, without a pager or prompts.

    Raises:
        ToolError: it failed; with its output.
    """
    environ = {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "GIT_CONFIG_NOSYSTEM": "1", **(env or {})}
    readable: list[Path] = []
    if network:  # authentication needs the user's own keys
        home = Path.home()
        environ |= {"HOME": str(home), "GIT_SSH_COMMAND": "ssh -o BatchMode=yes"}
        readable = [home / name for name in (".gitconfig", ".config/git", ".ssh", ".git-credentials")]
        if agent := os.environ.get("SSH_AUTH_SOCK"):
            environ["SSH_AUTH_SOCK"] = agent
            readable.append(Path(agent))
    try:
        ended = await run.sandbox.run(
            ["git", "--no-pager", *_SAFE, "-c", f"safe.directory={run.workspace}", *arguments],
            timeout_s=_NETWORK_TIMEOUT_S if network else _TIMEOUT_S,
            env=environ,
            network=network,
            readable=readable,
        )
    except (OSError, ValueError) as exc:
        raise ToolError(f"git could not be run: {exc}") from exc
    if ended.timed_out:
        raise ToolError("git took too long and was killed")
    if ended.code != 0:
        raise ToolError(ended.output.strip() or f"git ended with {ended.code}")
    return bounded(ended.output.strip())


def _name(text: str, what: str) -> str:
    """Check that git cannot take a name of a branch, remote or commit for an option."""
    if not text or text.startswith("-") or any(sign in text for sign in "\0\n "):
        raise ToolError(f"{what} {text!r}: expected a name that does not start with '-' and has no blanks")
    return text


async def git_status(run: ToolRun, _: GitStatus) -> str:
    """Return branch and changed files."""
    return await _git(run, "status", "--short", "--branch") or "nothing has changed"


async def git_diff(run: ToolRun, arguments: GitDiff) -> str:
    """Return what changed, staged or not."""
    staged = ["--staged"] if arguments.staged else []
    diff = await _git(run, "diff", "--no-ext-diff", "--no-textconv", *staged, "--", arguments.path)
    return diff or ("no staged difference" if arguments.staged else "no difference")


async def git_log(run: ToolRun, arguments: GitLog) -> str:
    """Return the newest commits, one line each."""
    count = max(1, min(arguments.count, 100))
    return await _git(run, "log", f"-{count}", "--date=short", "--format=%h %ad %an %s", "--", arguments.path)


async def git_add(run: ToolRun, arguments: GitAdd) -> str:
    """Stage files; return what is staged now."""
    if not arguments.paths:
        raise ToolError("paths is empty; name the files to stage")
    await _git(run, "add", "--", *arguments.paths)
    return await git_status(run, GitStatus())


async def git_commit(run: ToolRun, arguments: GitCommit) -> str:
    """Commit what is staged."""
    if not arguments.message.strip():
        raise ToolError("message is empty")
    return await _git(run, "commit", "--no-verify", "-m", arguments.message, env=await _identity(run))


async def git_branch(run: ToolRun, arguments: GitBranch) -> str:
    """List branches, or make one."""
    if arguments.name:
        await _git(run, "branch", _name(arguments.name, "name"))
    return await _git(run, "branch", "--all")


async def git_checkout(run: ToolRun, arguments: GitCheckout) -> str:
    """Switch to a branch or commit."""
    create = ["-b"] if arguments.create else []
    return await _git(run, "checkout", *create, _name(arguments.ref, "ref"), *([] if create else ["--"]))


async def git_merge(run: ToolRun, arguments: GitMerge) -> str:
    """Merge a branch into the current one; a merge with conflicts is aborted and reported."""
    try:
        return await _git(run, "merge", "--no-edit", _name(arguments.ref, "ref"), env=await _identity(run))
    except ToolError as exc:
        if "CONFLICT" in str(exc):
            await _git(run, "merge", "--abort")
            raise ToolError(f"{exc}\nThe merge was aborted.") from exc
        raise


async def git_clone(run: ToolRun, arguments: GitClone) -> str:
    """Clone a repository into a folder of the workspace."""
    if not arguments.url.startswith(_URL):
        raise ToolError(f"url {arguments.url!r}: expected https://, ssh:// or a path")
    return await _git(run, "clone", "--", arguments.url, arguments.folder, network=True) or "cloned"


async def git_pull(run: ToolRun, arguments: GitRemote) -> str:
    """Fetch and fast-forward."""
    branch = [_name(arguments.branch, "branch")] if arguments.branch else []
    return await _git(run, "pull", "--ff-only", _name(arguments.remote, "remote"), *branch, network=True)


async def git_push(run: ToolRun, arguments: GitRemote) -> str:
    """Push the current branch, or the one named; never with force."""
    branch = _name(arguments.branch, "branch") if arguments.branch else "HEAD"
    if branch.startswith("+"):
        raise ToolError("a forced push is not allowed")
    return await _git(run, "push", _name(arguments.remote, "remote"), branch, network=True) or "pushed"


async def _identity(run: ToolRun) -> dict[str, str]:
    """Return author and committer from the user's own git configuration, which the sandbox hides."""
    from asyncio import create_subprocess_exec
    from asyncio.subprocess import DEVNULL, PIPE

    found: dict[str, str] = {}
    for key, variables in (("name", ("AUTHOR", "COMMITTER")), ("email", ("AUTHOR", "COMMITTER"))):
        process = await create_subprocess_exec(
            "git", "config", f"user.{key}", cwd=run.workspace, stdout=PIPE, stderr=DEVNULL, stdin=DEVNULL
        )
        output, _ = await process.communicate()
        text = output.decode("utf-8", "replace").strip() or {"name": "Syntor", "email": "syntor@localhost"}[key]
        found |= {f"GIT_{who}_{key.upper()}": text for who in variables}
    return found


def _line() -> Callable[[Any], str]:
    def subject(arguments: Any) -> str:
        words: list[str] = []
        for value in msgspec.structs.asdict(arguments).values():
            words += cast("list[str]", value) if isinstance(value, list) else [str(value)] if value else []
        return " ".join(words)

    return subject


def _tool(
    name: str,
    description: str,
    arguments: type[msgspec.Struct],
    run: Callable[[ToolRun, Any], Awaitable[str]],
    effect: ToolEffect,
) -> Tool:
    subject = _line()

    def paths(given: Any) -> list[str]:
        named = [getattr(given, "path", ""), getattr(given, "folder", ""), *getattr(given, "paths", [])]
        return [path for path in named if path]

    def preview(workspace: Path, given: Any) -> str:
        return f"{name.replace('_', ' ')} {subject(given)}".strip()

    return Tool(
        name=name,
        description=description,
        arguments=arguments,
        run=run,
        paths=paths,
        effect=effect,
        repeatable=effect == "read",
        preview=preview,
        subject=subject,
    )


GIT_TOOLS = (
    _tool("git_status", "Show the branch and changed files.", GitStatus, git_status, "read"),
    _tool("git_diff", "Show changes; staged=true for the index.", GitDiff, git_diff, "read"),
    _tool("git_log", "Show the newest commits.", GitLog, git_log, "read"),
    _tool("git_add", "Stage files.", GitAdd, git_add, "execute"),
    _tool("git_commit", "Commit what is staged.", GitCommit, git_commit, "execute"),
    _tool("git_branch", "List branches, or make one.", GitBranch, git_branch, "execute"),
    _tool("git_checkout", "Switch to a branch or commit.", GitCheckout, git_checkout, "execute"),
    _tool("git_merge", "Merge a branch into the current one.", GitMerge, git_merge, "execute"),
    _tool("git_clone", "Clone a repository into a folder of the workspace.", GitClone, git_clone, "network"),
    _tool("git_pull", "Fetch and fast-forward the current branch.", GitRemote, git_pull, "network"),
    _tool("git_push", "Push a branch.", GitRemote, git_push, "network"),
)
