"""What was backed up comes back, position by position; a damaged backup is never used."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from syntor.testing.local_stack import LocalStack


@pytest.fixture(scope="module")
def backed_up(tmp_path_factory: pytest.TempPathFactory) -> tuple[LocalStack, Path]:
    """A stopped stack with some runs, and its backup."""
    tmp_path = tmp_path_factory.mktemp("backup")
    stack = LocalStack(tmp_path / "home")
    for _ in range(3):
        assert stack.syntor("chat", "hello").returncode == 0
    refused = stack.syntor("backup", "create", str(tmp_path / "one.tar.gz"))
    assert refused.returncode == 1
    assert "syntor down" in refused.stderr
    done = stack.syntor("backup", "create", "--stop", str(tmp_path / "one.tar.gz"))
    assert done.returncode == 0, done.stderr
    assert stack.syntor("runs", "list", "-o", "json").returncode == 0  # it runs again
    stack.down()
    return stack, tmp_path / "one.tar.gz"


def test_a_backup_is_verified_and_restored_as_it_was(backed_up: tuple[LocalStack, Path], tmp_path: Path) -> None:
    stack, file = backed_up
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    verified = stack.syntor("backup", "verify", str(file))
    assert verified.returncode == 0, verified.stderr
    assert "every digest matches" in verified.stdout
    again = stack.syntor("backup", "restore", str(file))
    assert again.returncode == 1
    assert "has a log already" in again.stderr
    other = LocalStack(tmp_path / "other")
    assert other.syntor("backup", "restore", str(file)).returncode == 0
    before = json.loads(stack.syntor("runs", "list", "-o", "json").stdout)["runs"]
    after = json.loads(other.syntor("runs", "list", "-o", "json").stdout)["runs"]
    assert after == before
    assert len(after) == 3
    assert other.syntor("replay", "--verify").returncode == 0
    assert other.syntor("chat", "and on").returncode == 0
    other.down()
    stack.down()


def test_a_damaged_backup_is_refused_and_nothing_is_in_place(
    backed_up: tuple[LocalStack, Path], tmp_path: Path
) -> None:
    stack, file = backed_up
    content = file.read_bytes()
    cut, changed, other = tmp_path / "cut.tar.gz", tmp_path / "changed.tar.gz", tmp_path / "text.tar.gz"
    cut.write_bytes(content[: len(content) // 2])
    changed.write_bytes(content[: len(content) // 2] + b"\0\0\0\0" + content[len(content) // 2 + 4 :])
    other.write_text("no backup")
    fresh = LocalStack(tmp_path / "fresh")
    for damaged in (cut, changed, other):
        for command in ("verify", "restore"):
            refused = fresh.syntor("backup", command, str(damaged))
            assert refused.returncode == 2, refused.stdout + refused.stderr
            assert damaged.name in refused.stderr
        assert not list((fresh.home / "data").rglob("*.blk"))
        assert not (fresh.home / "restoring").exists()
    assert stack.syntor("backup", "create", str(file)).returncode == 1
