"""Tools for a git repository. Nothing its settings name runs, and git never takes a model's text for an option."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, cast

import msgspec
from msgspec import Meta

from syntor.agentkit.domain.path_names import unquoted
from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.tools.git_command import git, git_without_repository
from syntor.agentkit.tools.git_remote import access_to
from syntor.agentkit.tools.paths import inside
from syntor.agentkit.tools.tool import Tool, ToolRun
from syntor.contracts.vocabulary import ToolEffect


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


def _name(text: str, what: str) -> str:
    """Check that git cannot take a name of a branch, remote or commit for an option."""
    if not text or text.startswith("-") or any(sign in text for sign in "\0\n "):
        raise ToolError(f"{what} {text!r}: expected a name that does not start with '-' and has no blanks")
    return text


async def git_status(run: ToolRun, _: GitStatus) -> str:
    """Return branch and changed files."""
    return await git(run, "status", "--short", "--branch", "--", ".") or "nothing has changed"


async def git_diff(run: ToolRun, arguments: GitDiff) -> str:
    """Return what changed, staged or not."""
    staged = ["--staged"] if arguments.staged else []
    diff = await git(
        run, "diff", "--no-ext-diff", "--no-textconv", "--relative", *staged, "--", _pathspec(arguments.path)
    )
    return diff or ("no staged difference" if arguments.staged else "no difference")


async def git_log(run: ToolRun, arguments: GitLog) -> str:
    """Return the newest commits, one line each."""
    count = max(1, min(arguments.count, 100))
    return await git(
        run,
        "log",
        f"-{count}",
        "--date=short",
        "--no-show-signature",
        "--format=%h %ad %an %s",
        "--",
        _pathspec(arguments.path),
    )


async def git_add(run: ToolRun, arguments: GitAdd) -> str:
    """Stage files; return what is staged now."""
    if not arguments.paths:
        raise ToolError("paths is empty; name the files to stage")
    await git(run, "add", "--", *map(_pathspec, arguments.paths), changes=True)
    return await git_status(run, GitStatus())


async def git_commit(run: ToolRun, arguments: GitCommit) -> str:
    """Commit what is staged."""
    if not arguments.message.strip():
        raise ToolError("message is empty")
    return await git(run, "commit", "--no-verify", "-m", arguments.message, changes=True)


async def git_branch(run: ToolRun, arguments: GitBranch) -> str:
    """List branches, or make one."""
    if arguments.name:
        await git(run, "branch", _name(arguments.name, "name"))
    return await git(run, "branch", "--all")


async def git_checkout(run: ToolRun, arguments: GitCheckout) -> str:
    """Switch to a branch or commit."""
    create = ["-b"] if arguments.create else []
    return await git(run, "checkout", *create, _name(arguments.ref, "ref"), *([] if create else ["--"]), changes=True)


async def git_merge(run: ToolRun, arguments: GitMerge) -> str:
    """Merge a branch into the current one; a merge with conflicts is aborted and reported."""
    try:
        return await git(run, "merge", "--no-edit", _name(arguments.ref, "ref"), changes=True)
    except ToolError as exc:
        if "CONFLICT" in str(exc):
            await git(run, "merge", "--abort", changes=True)
            raise ToolError(f"{exc}\nThe merge was aborted.") from exc
        raise


async def git_clone(run: ToolRun, arguments: GitClone) -> str:
    """Clone a repository into a folder of the workspace."""
    url, folder = arguments.url, unquoted(arguments.folder)
    access = await access_to(url)
    target = await asyncio.to_thread(inside, run.workspace, folder)
    arguments_of_git = ("clone", "--no-recurse-submodules", "--", url, str(target))
    return await git_without_repository(run, *arguments_of_git, access=access) or f"cloned into {arguments.folder}"


async def git_pull(run: ToolRun, arguments: GitRemote) -> str:
    """Fetch and fast-forward."""
    remote = _name(arguments.remote, "remote")
    branch = [_name(arguments.branch, "branch")] if arguments.branch else []
    url = await git(run, "ls-remote", "--get-url", remote)
    pull = ("pull", "--ff-only", "--no-recurse-submodules", remote, *branch)
    return await git(run, *pull, access=await access_to(url), changes=True)


async def git_push(run: ToolRun, arguments: GitRemote) -> str:
    """Push the current branch, or the one named; never with force."""
    remote = _name(arguments.remote, "remote")
    branch = _name(arguments.branch, "branch") if arguments.branch else "HEAD"
    if branch.startswith("+"):
        raise ToolError("a forced push is not allowed")
    url = (await git(run, "remote", "get-url", "--push", remote)).split("\n")[0]
    return await git(run, "push", "--no-verify", remote, branch, access=await access_to(url)) or "pushed"


def _pathspec(path: str) -> str:
    """Return a path as git takes it; git's magic words, which could lead out of the folder, are refused."""
    name = unquoted(path)
    if name.startswith(":"):
        raise ToolError(f"path {path!r}: expected a file or folder, or a pattern such as src/*.py")
    return name


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
