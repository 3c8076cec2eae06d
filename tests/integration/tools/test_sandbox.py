"""What a command of a model can do: in bubblewrap where the kernel allows it, and with limits only."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.tools import background, bubblewrap, processes
from syntor.agentkit.tools.git import (
    GitAdd,
    GitCheckout,
    GitCommit,
    GitDiff,
    git_add,
    git_checkout,
    git_commit,
    git_diff,
)
from syntor.agentkit.tools.sandbox import MAX_OUTPUT_BYTES, Sandbox, limits_only, open_sandbox
from syntor.agentkit.tools.shell import Bash, ProcessOutput, ProcessStop, bash, process_output, process_stop
from syntor.agentkit.tools.tool import MAX_OUTPUT_CHARACTERS, ToolRun

DEADLINE_S = 20.0


@pytest.fixture(params=["as it is here", "limits"])
async def sandbox(request: pytest.FixtureRequest, tmp_path: Path) -> Sandbox:
    """The sandbox of a workspace: the best this machine allows, and the one without bubblewrap."""
    workspace = tmp_path / "work"
    workspace.mkdir()
    if request.param == "limits":
        return limits_only(workspace, "a test")
    return await open_sandbox(workspace, network=False)


@pytest.fixture
def in_bubblewrap(sandbox: Sandbox) -> Sandbox:
    if sandbox.kind != "bubblewrap":
        pytest.skip(f"not in bubblewrap: {sandbox.note}")
    return sandbox


def _run(sandbox: Sandbox) -> ToolRun:
    return ToolRun(workspace=sandbox.workspace, sandbox=sandbox, key="r1.t1.c1_1")


async def _output(sandbox: Sandbox, command: str, timeout_s: int = 20) -> str:
    """Return what a command wrote, or the error the model gets."""
    try:
        return await bash(_run(sandbox), Bash(command=command, timeout_s=timeout_s))
    except ToolError as exc:
        return f"error: {exc}"


async def _wait_for(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not await asyncio.to_thread(holds):
            pass


async def test_the_workspace_is_there_and_writable(sandbox: Sandbox) -> None:
    assert await _output(sandbox, "pwd; echo hello > new.txt; cat new.txt") == f"{sandbox.workspace}\nhello"
    assert (sandbox.workspace / "new.txt").read_text() == "hello\n"
    assert sandbox.description == "bubblewrap" or sandbox.description.startswith("limits: ")


async def test_how_a_command_fails_is_reported(sandbox: Sandbox) -> None:
    assert await _output(sandbox, "echo out; echo err >&2; exit 3") == "error: exit code 3\nout\nerr"
    assert (await _output(sandbox, "no-such-command")).startswith("error: exit code 127")
    assert await _output(sandbox, "true") == "(no output)"


async def test_a_home_as_workspace_keeps_its_keys(
    in_bubblewrap: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = in_bubblewrap.workspace
    monkeypatch.setenv("SYNTOR_HOME", str(home / ".syntor"))
    for folder in (".ssh", ".syntor"):
        (home / folder).mkdir()
        (home / folder / "secret").write_text("k-1")
    assert await _output(in_bubblewrap, "cat .ssh/* .syntor/* 2>/dev/null; ls -A .ssh .syntor") == ".ssh:\n\n.syntor:"
    assert (home / ".ssh" / "secret").read_text() == "k-1"


async def test_keys_in_the_environment_are_not_passed_on(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    output = await _output(sandbox, "env; echo home=$HOME")
    assert "sk-1" not in output
    assert f"home={sandbox.workspace}" in output


async def test_output_without_end_is_bounded_and_ended(sandbox: Sandbox) -> None:
    ended = await sandbox.run(["/bin/bash", "-c", "yes | head -c 50000000"], timeout_s=20)
    assert ended.truncated
    assert len(ended.output) < MAX_OUTPUT_BYTES + 100
    output = await _output(sandbox, "yes", timeout_s=1)
    assert output.startswith("error: killed after 1 s")
    assert len(output) < MAX_OUTPUT_CHARACTERS + 300
    assert "were left out" in output


async def test_a_hanging_program_is_killed_with_all_it_started(sandbox: Sandbox) -> None:
    mark = f"77.{os.getpid()}{sandbox.kind == 'limits':d}"
    output = await _output(sandbox, f"sleep {mark} & (sleep {mark} & wait) & sleep {mark}", timeout_s=1)
    assert output.startswith("error: killed after 1 s")
    await _wait_for(lambda: not _running(f"sleep\0{mark}"))


async def test_background_processes_are_killed_at_the_end(sandbox: Sandbox) -> None:
    mark = f"78.{os.getpid()}{sandbox.kind == 'limits':d}"
    await _output(sandbox, f"(sleep {mark} >/dev/null 2>&1 &) ; echo done")
    await _wait_for(lambda: not _running(f"sleep\0{mark}"))


async def test_a_program_with_too_many_processes_is_killed(sandbox: Sandbox) -> None:
    output = await _output(sandbox, "for i in $(seq 3000); do sleep 30 & done; wait", timeout_s=15)
    assert output.startswith("error: ")
    assert "killed" in output or "exit code" in output
    await _wait_for(lambda: not _running("sleep\00030\0"))


async def test_it_reads_no_input_and_has_no_terminal(sandbox: Sandbox) -> None:
    assert await _output(sandbox, "cat; tty || true", timeout_s=5) == "not a tty"


async def test_a_cancelled_call_leaves_nothing_behind(sandbox: Sandbox) -> None:
    mark = f"79.{os.getpid()}{sandbox.kind == 'limits':d}"
    task = asyncio.create_task(_output(sandbox, f"sleep {mark}"))
    await _wait_for(lambda: _running(f"sleep\0{mark}"))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await _wait_for(lambda: not _running(f"sleep\0{mark}"))


async def test_nothing_outside_can_be_written(in_bubblewrap: Sandbox, tmp_path: Path) -> None:
    beside = tmp_path / "beside.txt"
    await _output(in_bubblewrap, f"echo x > {beside}; echo x > /etc/new; ln -s {tmp_path} l; echo x > l/y")
    assert not beside.exists()
    assert not (tmp_path / "y").exists()
    assert not Path("/etc/new").exists()


async def test_the_users_home_is_hidden(in_bubblewrap: Sandbox) -> None:
    assert "No such file" in await _output(in_bubblewrap, f"ls {Path.home() / '.ssh'} 2>&1 || true")


async def test_there_is_no_network_unless_it_was_allowed(in_bubblewrap: Sandbox) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(DEADLINE_S)
        command = f"exec 3<>/dev/tcp/127.0.0.1/{server.getsockname()[1]} && echo connected"
        assert "connected" not in await _output(in_bubblewrap, command)
        accepting = threading.Thread(target=lambda: server.accept()[0].close(), daemon=True)
        accepting.start()
        opened = await open_sandbox(in_bubblewrap.workspace, network=True)
        assert "connected" in await _output(opened, command)
        accepting.join(DEADLINE_S)


async def test_programs_have_no_rights_to_escape_with(in_bubblewrap: Sandbox) -> None:
    (in_bubblewrap.workspace / "mine.txt").write_text("x")
    assert "CapEff:\t0000000000000000" in await _output(in_bubblewrap, "grep CapEff /proc/self/status")
    for command in (
        "mount -o remount,bind,rw /usr",
        "unshare -Urm mount -o remount,bind,rw /usr",
        "mount -t tmpfs none /mnt",
        "cat /etc/shadow | grep .",
        "cat /proc/kcore | head -c 1 | grep .",
        "echo $(cat /proc/sys/kernel/core_pattern) > /proc/sys/kernel/core_pattern",
        "for f in $(find /proc -maxdepth 2 -not -path '/proc/[0-9]*'); do test -f $f -a -w $f && ls $f;done | grep .",
        f"ls /proc/{os.getpid()}/cwd/ && grep -z syntor /proc/{os.getpid()}/environ",
    ):
        assert (await _output(in_bubblewrap, command)).startswith("error: "), command
    visible = await _output(in_bubblewrap, "ls -d /sys /root /srv /home /var/lib/* 2>/dev/null || true")
    assert set(visible.split()) <= {"/root", "/home", "/var/lib/dpkg", "/var/lib/alternatives", "/var/lib/rpm"}


async def test_syntors_own_folder_is_hidden_wherever_it_is(
    in_bubblewrap: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "programs"
    (tools / "home").mkdir(parents=True)
    (tools / "home" / "token").write_text("secret")
    (tools / "credentials.toml").write_text("secret")
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:{tools}")
    monkeypatch.setenv("SYNTOR_HOME", str(tools / "home"))
    bubblewrap._read_only_folders.cache_clear()
    bubblewrap._secrets.cache_clear()
    try:
        output = await _output(in_bubblewrap, f"ls {tools}; cat {tools}/home/* {tools}/cred*")
    finally:
        bubblewrap._read_only_folders.cache_clear()
        bubblewrap._secrets.cache_clear()
    assert "home" in output
    assert "secret" not in output


async def test_memory_and_disk_are_bounded(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "MAX_MEMORY_BYTES", 200 * 1024**2)
    take = "python3 -c 'x = bytearray(60_000_000)\nwhile 1: pass' & "
    assert "killed: more than 200 MiB of memory" in await _output(sandbox, take * 5 + "wait")
    one = await _output(sandbox, "python3 -c 'bytearray(2_000_000_000_000)'")
    assert "MemoryError" in one
    monkeypatch.setattr(processes, "MAX_MEMORY_BYTES", 2**60)
    free = shutil.disk_usage(sandbox.workspace).free
    monkeypatch.setattr(processes, "_MIN_FREE_BYTES", free - 20_000_000)
    output = await _output(sandbox, "head -c 60000000 /dev/zero > big; sleep 20")
    assert "MiB of disk were left" in output


async def test_processes_are_counted_per_sandbox(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "MAX_PROCESSES", 40)
    several = "for i in $(seq 25); do sleep 1 & done; wait; echo done"
    assert await asyncio.gather(*(_output(sandbox, several) for _ in range(3))) == ["done"] * 3


async def test_a_command_in_the_background_is_read_and_stopped(sandbox: Sandbox) -> None:
    run = _run(sandbox)
    mark = f"80.{os.getpid()}{sandbox.kind == 'limits':d}"
    said = await bash(run, Bash(command=f"mkfifo f; echo ready; read x < f; echo $x; sleep {mark}", background=True))
    handle = said.split(" ")[0]
    assert "running for" in said
    assert "\nready\n" in said
    await _output(sandbox, "echo on > f")
    assert "\non" in await process_output(run, ProcessOutput(handle=handle, wait_s=20))
    assert handle in await process_output(run, ProcessOutput())
    assert "stopped" in await process_stop(run, ProcessStop(handle=handle))
    await _wait_for(lambda: not _running(f"sleep\0{mark}"))
    assert "ended with exit code" in await process_output(run, ProcessOutput(handle=handle))
    with pytest.raises(ToolError, match="it is gone"):
        await process_output(run, ProcessOutput(handle="bg1-dead"))


async def test_background_processes_are_bounded_in_number(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "MAX_RUNNING", 2)
    run = _run(sandbox)
    started = [await bash(run, Bash(command="sleep 60", background=True)) for _ in range(background.MAX_RUNNING)]
    with pytest.raises(ToolError, match="stop one with process_stop"):
        await bash(run, Bash(command="sleep 60", background=True))
    for said in started:
        await process_stop(run, ProcessStop(handle=said.split(" ")[0]))


async def test_background_processes_end_with_the_process_that_started_them(sandbox: Sandbox, tmp_path: Path) -> None:
    mark = f"81.{os.getpid()}{sandbox.kind == 'limits':d}"
    opened = "limits_only(p, '-')" if sandbox.kind == "limits" else "await open_sandbox(p, network=False)"
    script = f"""
import asyncio, os, sys
from pathlib import Path
from syntor.agentkit.tools.sandbox import limits_only, open_sandbox
from syntor.agentkit.tools.shell import Bash, bash
from syntor.agentkit.tools.tool import ToolRun
async def main():
    p = Path({str(sandbox.workspace)!r})
    run = ToolRun(workspace=p, sandbox={opened}, key="k")
    print(await bash(run, Bash(command="echo up; exec sleep {mark}", background=True)), flush=True)
    os.kill(os.getpid(), 9)
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert b"running for" in output
    await _wait_for(lambda: not _running(f"sleep\0{mark}"))


async def test_git_works_and_takes_nothing_a_model_writes_for_an_option(sandbox: Sandbox) -> None:
    run = _run(sandbox)
    await _output(sandbox, "git init -q . && echo one > a.txt && mkdir hooks && git config core.hooksPath hooks")
    (sandbox.workspace / "hooks" / "pre-commit").write_text("#!/bin/sh\ntouch hook-ran\n")
    (sandbox.workspace / "hooks" / "pre-commit").chmod(0o755)
    assert "A  a.txt" in await git_add(run, GitAdd(paths=["a.txt"]))
    assert "+one" in await git_diff(run, GitDiff(staged=True))
    assert "feat: one" in await git_commit(run, GitCommit(message="feat: one\n\n--amend"))
    assert not (sandbox.workspace / "hook-ran").exists()
    for refused in (git_checkout(run, GitCheckout(ref="--orphan")), git_add(run, GitAdd(paths=["--force", "../x"]))):
        with pytest.raises(ToolError):
            await refused
    assert await git_diff(run, GitDiff(path=f"--output={sandbox.workspace}/out")) == "no difference"
    assert not (sandbox.workspace / "out").exists()


def _running(text: str) -> bool:
    """Return whether a process has a text in its command line."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = Path(f"/proc/{name}/cmdline").read_bytes().decode("utf-8", "replace")
        except OSError:
            continue
        if text in line:
            return True
    return False
