"""A log that was restored from an old copy, or lost its end, is refused and explained; both ways out work."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from syntor.testing.local_stack import LocalStack


def _chat(stack: LocalStack, text: str) -> None:
    done = stack.syntor("chat", "--agent", "worker", text)
    assert done.returncode == 0, done.stderr


def _findings(stack: LocalStack) -> dict[str, dict[str, str]]:
    said = json.loads(stack.syntor("doctor", "-o", "json").stdout)
    return {finding["name"]: finding for finding in said["findings"]}


def test_an_old_copy_of_the_log_is_refused_until_somebody_decides(tmp_path: Path) -> None:
    stack = LocalStack(tmp_path / "home")
    log, copy, newer = stack.home / "data" / "nats", tmp_path / "copy", tmp_path / "newer"
    stack.up("--durability", "fast")
    _chat(stack, "before the copy")
    stack.down()
    shutil.copytree(log, copy)
    stack.up("--durability", "fast")
    _chat(stack, "after the copy")
    stack.down()
    shutil.copytree(log, newer)

    shutil.rmtree(log)
    shutil.copytree(copy, log)
    refused = stack.syntor("up", "--detach", "--durability", "fast")
    assert refused.returncode == 3, refused.stdout
    for said in ("projector", "already read from it", "syntor backup restore", "syntor replay"):
        assert said in refused.stderr, refused.stderr

    shutil.rmtree(log)  # the newer log is brought back: all is there
    shutil.copytree(newer, log)
    stack.up("--durability", "fast")
    assert "read models" not in _findings(stack)
    stack.down()

    shutil.rmtree(log)  # the old one is taken as it is
    shutil.copytree(copy, log)
    replayed = stack.syntor("replay")
    assert replayed.returncode == 0, replayed.stderr  # it started the stack
    runs = json.loads(stack.syntor("runs", "list", "-o", "json").stdout)["runs"]
    assert [run["input"] for run in runs] == ["before the copy"]
    _chat(stack, "and it continues")
    assert stack.syntor("replay", "--verify").returncode == 0
    stack.down()


def test_an_old_copy_that_was_appended_to_since_is_refused_too(tmp_path: Path) -> None:
    stack = LocalStack(tmp_path / "home")
    log, copy, database = stack.home / "data" / "nats", tmp_path / "copy", stack.home / "data" / "readmodel.db"
    with stack:
        _chat(stack, "before the copy")
    shutil.copytree(log, copy)
    with stack:
        _chat(stack, "after the copy")
    read = database.read_bytes()

    shutil.rmtree(log)
    shutil.copytree(copy, log)
    database.unlink()
    with stack:
        for number in range(3):  # the log gets longer than what was read
            _chat(stack, f"another history, {number}")
    database.write_bytes(read)
    refused = stack.syntor("up", "--detach")
    assert refused.returncode == 3, refused.stdout
    for said in ("projector", "has another event at position", "syntor backup restore", "syntor replay"):
        assert said in refused.stderr, refused.stderr


def test_a_log_whose_files_are_gone_is_refused_and_not_created_empty(tmp_path: Path) -> None:
    stack = LocalStack(tmp_path / "home")
    with stack:
        _chat(stack, "hello")
    streams = stack.home / "data" / "nats" / "jetstream" / "$G" / "streams"
    shutil.rmtree(streams / "SYNTOR_EVENTS")
    refused = stack.syntor("up", "--detach")
    assert refused.returncode == 3, refused.stdout
    assert "1.blk: is missing" in refused.stderr
    (stack.home / "data" / "nats" / "seal.json").unlink()  # as after a crash
    refused = stack.syntor("up", "--detach")
    assert refused.returncode == 3, refused.stdout
    assert "already read from it" in refused.stderr
