"""A home whose disk is full, then free again: said immediately, and everything continues by itself."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from syntor.testing.local_stack import LocalStack

SIZE = "96m"  # holds a stack's logs, read model and streams
CHUNK = b"\0" * 65536
Wait = Callable[..., Any]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as exc:
        pytest.skip(f"no small disk can be made here: {exc}")
    if done.returncode != 0:
        pytest.skip(f"no small disk can be made here, which needs root: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def stack(disk: Path) -> Iterator[LocalStack]:
    """A stack on it; tests start it."""
    local = LocalStack(disk / "home")
    yield local
    local.down()


def fill(disk: Path) -> Path:
    """Use every byte that is left."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(CHUNK)
        except OSError:
            return ballast


def test_a_full_disk_is_said_and_recovered_from(stack: LocalStack, disk: Path, wait_for: Wait) -> None:
    stack.up()
    assert stack.syntor("chat", "hello").returncode == 0
    ballast = fill(disk)
    full = f"the disk of {stack.home}/data/nats is full"

    refused = httpx2.post(f"{stack.url}/v1/runs", json={"agent": "worker", "input": "x"}, timeout=5)
    assert refused.status_code == 503
    assert refused.json()["type"] == "/problems/storage_full"
    assert full in refused.json()["detail"]
    assert refused.headers["Retry-After"] == "5"
    assert "is full: " in stack.syntor("doctor").stdout
    chat = subprocess.Popen(
        [sys.executable, "-m", "syntor.cli.main", "chat", "hello"],
        env=stack.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert chat.stderr is not None
    assert full in chat.stderr.readline()
    assert full in stack.syntor("status").stdout

    os.truncate(ballast, 0)
    answered, _ = chat.communicate(timeout=60)
    assert answered.strip() == "The scripted answer."
    wait_for(lambda: stack.syntor("chat", "hello").stdout.strip() == "The scripted answer.", 60)
    wait_for(lambda: {row["state"] for row in stack.status()["services"]} == {"ready"})
    assert stack.syntor("replay", "--verify").returncode == 0


def test_a_server_that_stopped_storing_is_restarted_when_there_is_room(
    stack: LocalStack, disk: Path, wait_for: Wait
) -> None:
    stack.up()
    nats = stack.service("nats")["pid"]
    ballast = fill(disk)
    # past the check of the services: nats-server itself meets the full disk
    command = ("admin", "apply")
    assert stack.syntor(*command).returncode in (0, 3, 4)
    _write_into_the_full_disk(stack)
    wait_for(lambda: "no space left" in httpx2.get(stack.service("nats")["health_url"], timeout=10).text)
    os.truncate(ballast, 0)
    wait_for(lambda: stack.service("nats")["pid"] not in (0, nats))
    wait_for(lambda: stack.syntor("chat", "hello").stdout.strip() == "The scripted answer.", 30)


def _write_into_the_full_disk(stack: LocalStack) -> None:
    import asyncio

    from syntor.contracts.errors import InfrastructureError
    from syntor.jetstream.connection import connect

    async def write() -> None:
        connection = await connect(stack.nats_url, "syntor/test", access=stack.admin)
        for _ in range(64):
            try:
                await connection.request("syntor.dlq.x.y", b"x" * 65536, timeout_s=1.0)
            except InfrastructureError:
                break
        await connection.close()

    asyncio.run(write())


def test_a_start_on_a_full_disk_ends_immediately_with_what_is_full(stack: LocalStack, disk: Path) -> None:
    ballast = fill(disk)
    for command in (("up", "--detach"), ("chat", "hello")):
        done = stack.syntor(*command, timeout_s=20)
        assert done.returncode == 4, done.stderr
        assert "is full: 0.0 MB are free" in done.stderr
        assert "Traceback" not in done.stderr
    ballast.unlink()
    assert stack.syntor("chat", "hello").returncode == 0


def test_a_start_in_a_read_only_folder_names_it(stack: LocalStack, disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    for command in (("up", "--detach"), ("up",), ("chat", "hello")):
        done = stack.syntor(*command, timeout_s=20)
        assert done.returncode in (3, 4), done.stderr
        assert str(disk) in done.stderr
        assert "ead-only file system" in done.stderr
        assert "Traceback" not in done.stderr
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
