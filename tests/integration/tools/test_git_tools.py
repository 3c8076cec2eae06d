"""Git tools in every kind of repository, and in repositories whose settings name programs."""

from __future__ import annotations

import base64
import os
import shlex
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from syntor.agentkit.domain import git_config
from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.tools.git import (
    GitAdd,
    GitBranch,
    GitCheckout,
    GitClone,
    GitCommit,
    GitDiff,
    GitLog,
    GitMerge,
    GitRemote,
    GitStatus,
    git_add,
    git_branch,
    git_checkout,
    git_clone,
    git_commit,
    git_diff,
    git_log,
    git_merge,
    git_pull,
    git_push,
    git_status,
)
from syntor.agentkit.tools.sandbox import limits_only, open_sandbox
from syntor.agentkit.tools.shell import Bash, bash
from syntor.agentkit.tools.tool import ToolRun


@pytest.fixture(params=["as it is here", "limits"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / ".gitconfig").write_text(
        "[user]\n\tname = Ada\n\temail = ada@example.org\n[init]\n\tdefaultBranch = main\n"
    )
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return folder


@pytest.fixture
def repository(tmp_path: Path, home: Path) -> Path:
    root = tmp_path / "repo"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "a.txt").write_text("one\n")
    (root / "top.txt").write_text("top\n")
    _git(root, "init", "-q", "-b", "main")
    _git(root, "add", ".")
    _git(root, "commit", "-q", "-m", "first")
    return root


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


async def _run(workspace: Path, kind: str) -> ToolRun:
    sandbox = limits_only(workspace, "a test") if kind == "limits" else await open_sandbox(workspace, network=False)
    return ToolRun(workspace=workspace, sandbox=sandbox, key="r1.t1.c1_1")


async def _works(run: ToolRun, name: str) -> None:
    """Change, stage and commit a file, and look at it on the way."""
    (run.workspace / name).write_text("two\n")
    assert name in await git_status(run, GitStatus())
    assert "+two" in await git_diff(run, GitDiff())
    await git_add(run, GitAdd(paths=[name]))
    await git_commit(run, GitCommit(message="second"))
    assert "second" in await git_log(run, GitLog())
    assert " Ada " in await git_log(run, GitLog())
    await git_checkout(run, GitCheckout(ref="other", create=True))
    assert "other" in await git_branch(run, GitBranch())


async def test_a_subfolder_of_a_repository(repository: Path, kind: str) -> None:
    (repository / "top.txt").write_text("changed\n")
    run = await _run(repository / "sub", kind)
    await _works(run, "a.txt")
    assert "top.txt" not in await git_status(run, GitStatus())
    assert _git(repository, "status", "--short") == "M top.txt"


async def test_a_linked_worktree(repository: Path, kind: str, tmp_path: Path) -> None:
    _git(repository, "worktree", "add", "-q", "-b", "linked", str(tmp_path / "linked"))
    await _works(await _run(tmp_path / "linked", kind), "top.txt")


async def test_a_submodule(repository: Path, kind: str, tmp_path: Path) -> None:
    above = tmp_path / "above"
    above.mkdir()
    _git(above, "init", "-q")
    _git(above, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(repository), "part")
    await _works(await _run(above / "part", kind), "top.txt")
    assert "part" in await git_status(await _run(above, kind), GitStatus())


async def test_a_git_file_that_leads_to_another_repository_is_refused(
    repository: Path, kind: str, tmp_path: Path
) -> None:
    workspace = tmp_path / "work"
    workspace.mkdir()
    run = await _run(workspace, kind)
    with pytest.raises(ToolError, match="not a git repository"):
        await git_status(run, GitStatus())
    (workspace / ".git").write_text(f"gitdir: {repository / '.git'}\n")
    with pytest.raises(ToolError, match="does not name this folder"):
        await git_log(run, GitLog())
    (workspace / ".git").unlink()
    (workspace / ".git").symlink_to(repository / ".git")
    with pytest.raises(ToolError, match="another place"):
        await git_log(run, GitLog())


def _hostile(repository: Path, mark: Path) -> None:
    """Have every setting that names a program name one that leaves a mark."""
    program = repository / "evil.sh"
    program.write_text(f"#!/bin/sh\necho $0 $* >> {shlex.quote(str(mark))}\ncat 2>/dev/null\n")
    program.chmod(0o755)
    evil = str(program)
    hooks = repository / "hooks"
    hooks.mkdir()
    for name in ("pre-commit", "post-checkout", "pre-push", "post-merge", "reference-transaction", "post-index-change"):
        (hooks / name).symlink_to(program)
        (repository / ".git" / "hooks" / name).symlink_to(program)
    (repository / ".git" / "more").write_text(f'[filter "inc=luded.x"]\n\tclean = {evil}\n\tsmudge = {evil}\n')
    (repository / ".gitattributes").write_text(
        "*.txt filter=f diff=d merge=m\n*.inc filter=inc=luded.x\n*.p filter=p\n"
    )
    (repository / ".gitconfig").write_text(f'[core]\n\tfsmonitor = {evil}\n[filter "f"]\n\tclean = {evil}\n')
    programs = (
        "core.fsmonitor", "core.pager", "core.editor", "core.sshcommand", "core.gitproxy", "core.askpass",
        "core.alternaterefscommand", "filter.f.clean", "filter.f.smudge", "filter.p.process", "diff.external",
        "diff.d.command", "diff.d.textconv", "merge.m.driver", "gpg.program", "gpg.ssh.program", "pager.log",
        "pager.status", "sequence.editor", "remote.origin.uploadpack", "remote.origin.receivepack",
    )  # fmt: skip
    others = {
        "core.hookspath": str(hooks), "include.path": "more", "credential.helper": f"!{evil}",
        "filter.f.required": "true", "filter.p.required": "true", "commit.gpgsign": "true", "log.showsignature": "true",
        "alias.status": f"!{evil}", "diff.submodule": "log", "protocol.ext.allow": "always", "core.worktree": "/",
        "branch.main.mergeoptions": "-s evil", "branch.main.remote": "origin", "branch.main.merge": "refs/heads/main",
        "remote.origin.url": f"ext::{evil}", "remote.origin.promisor": "true", "url.ext::.insteadof": "https://",
    }  # fmt: skip
    with (repository / ".git" / "config").open("ab") as file:
        file.write(git_config.as_file([*((key, evil) for key in programs), *others.items()]))


async def test_nothing_a_repository_names_is_run(repository: Path, kind: str) -> None:
    mark = repository / "mark"
    for name in ("b.inc", "c.p"):
        (repository / name).write_text("x\n")
    _git(repository, "add", ".")
    _git(repository, "commit", "-q", "-m", "more")
    _git(repository, "branch", "side")
    _hostile(repository, mark)
    run = await _run(repository, kind)
    for name in ("top.txt", "b.inc", "c.p"):
        (repository / name).write_text("changed\n")
    assert "+changed" in await git_diff(run, GitDiff())
    assert "M top.txt" in await git_status(run, GitStatus())
    await git_log(run, GitLog())
    await git_add(run, GitAdd(paths=["top.txt", "b.inc", "c.p"]))
    await git_commit(run, GitCommit(message="changed"))
    await git_checkout(run, GitCheckout(ref="side"))
    (repository / "top.txt").write_text("other\n")
    await git_add(run, GitAdd(paths=["top.txt"]))
    await git_commit(run, GitCommit(message="other"))
    with pytest.raises(ToolError, match="CONFLICT"):
        await git_merge(run, GitMerge(ref="main"))
    for call in (git_pull(run, GitRemote(branch="main")), git_push(run, GitRemote())):
        with pytest.raises(ToolError):
            await call
    assert not mark.exists(), mark.read_text()
    _git(repository, "-c", "core.worktree=..", "status")
    assert mark.exists(), "git itself runs them"


async def test_the_users_own_filters_and_ignored_files_count(repository: Path, kind: str, home: Path) -> None:
    with (home / ".gitconfig").open("a") as file:
        file.write('[core]\n\texcludesFile = ~/ignored\n[filter "up"]\n\tclean = tr a-z A-Z\n')
    (home / "ignored").write_text("*.tmp\n")
    (repository / ".gitattributes").write_text("*.up filter=up\n")
    (repository / "x.tmp").write_text("x")
    (repository / "x.up").write_text("small\n")
    run = await _run(repository, kind)
    assert "x.tmp" not in await git_status(run, GitStatus())
    await git_add(run, GitAdd(paths=["x.up"]))
    assert "+SMALL" in await git_diff(run, GitDiff(staged=True))


async def test_commands_of_a_model_cannot_change_what_git_runs(repository: Path) -> None:
    run = await _run(repository, "as it is here")
    if run.sandbox.kind != "bubblewrap":
        pytest.skip("not in bubblewrap")
    before = (repository / ".git" / "config").read_text()
    for command in (
        "git config core.fsmonitor evil",
        "echo x > .git/hooks/pre-commit",
        "mv .git .git2",
        "rm -rf .git/hooks .git/config",
        "unshare -Urm mount -o remount,bind,rw .git/config",
    ):
        with pytest.raises(ToolError):
            await bash(run, Bash(command=command))
    assert (repository / ".git" / "config").read_text() == before
    assert not (repository / ".git" / "hooks" / "pre-commit").exists()
    await bash(run, Bash(command="echo y > y.txt && git add y.txt && git -c user.name=x -c user.email=y commit -qm y"))


class _Server(BaseHTTPRequestHandler):
    """A server that wants a password, and refuses all requests."""

    seen: list[str] = []

    def do_GET(self) -> None:
        given = self.headers.get("Authorization", "")
        self.seen.append(base64.b64decode(given.removeprefix("Basic ")).decode())
        self.send_response(403 if given else 401)
        self.send_header("WWW-Authenticate", 'Basic realm="r"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    _Server.seen = []
    with HTTPServer(("127.0.0.1", 0), _Server) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


async def test_a_remote_gets_its_own_credential_and_no_other(
    repository: Path, kind: str, home: Path, server: str
) -> None:
    (home / "stored").write_text(f"http://ada:right@{server}\nhttp://ada:wrong@example.org\n")
    with (home / ".gitconfig").open("a") as file:
        file.write(f"[credential]\n\thelper = store --file {home / 'stored'}\n")
    (home / ".ssh").mkdir()
    run = await _run(repository, kind)
    mark = repository / "mark"
    _git(repository, "remote", "add", "origin", f"http://{server}/x.git")
    _git(repository, "config", "credential.helper", f"!env > {mark}; touch {mark}")
    for call in (
        git_clone(run, GitClone(url=f"http://{server}/y.git", folder="y")),
        git_pull(run, GitRemote()),
        git_push(run, GitRemote()),
    ):
        with pytest.raises(ToolError, match="403"):
            await call
    assert set(_Server.seen) == {"", "ada:right"}
    assert not mark.exists()


async def test_a_remote_without_a_credential_does_not_prompt(repository: Path, kind: str, server: str) -> None:
    run = await _run(repository, kind)
    with pytest.raises(ToolError, match=r"could not read Username|Authentication failed"):
        await git_clone(run, GitClone(url=f"http://{server}/y.git", folder="y"))
    for url in ("ext::sh -c id", "-oProxyCommand=id", "ssh://-oProxyCommand=id/x", "https://h/\nx"):
        with pytest.raises(ToolError):
            await git_clone(run, GitClone(url=url, folder="y"))


async def test_a_settings_file_that_never_ends_is_an_error(
    repository: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syntor.agentkit.tools.git_command._SETTINGS_TIMEOUT_S", 0.5)
    os.mkfifo(repository / ".git" / "endless")
    _git(repository, "config", "include.path", "x")
    config = repository / ".git" / "config"
    config.write_text(config.read_text().replace("path = x", "path = endless"))
    with pytest.raises(ToolError, match="settings of git cannot be read"):
        await git_status(await _run(repository, kind), GitStatus())
