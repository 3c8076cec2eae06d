"""A stack comes up over a damaged read model, has its runs again, and says what it did."""

from __future__ import annotations

import json
from pathlib import Path

from syntor.testing.local_stack import LocalStack


def _runs(stack: LocalStack) -> list[str]:
    return [run["input"] for run in json.loads(stack.syntor("runs", "list", "-o", "json").stdout)["runs"]]


def test_a_damaged_read_model_does_not_keep_the_stack_from_serving(tmp_path: Path) -> None:
    stack = LocalStack(tmp_path / "home")
    database = stack.home / "data" / "readmodel.db"
    with stack:
        done = stack.syntor("chat", "--agent", "worker", "before the damage")
        assert done.returncode == 0, done.stderr
    database.write_bytes(bytes(range(256)) * 80)
    with stack:
        shown = stack.syntor("status").stdout
        assert f"{database}.damaged-" in shown
        assert f"{database}.damaged-" in stack.syntor("doctor").stdout
        assert "rebuilt from the log" in (stack.home / "logs" / "projector.log").read_text()
        verified = stack.syntor("replay", "--verify")
        assert verified.returncode == 0, verified.stderr
        assert _runs(stack) == ["before the damage"]
    database.unlink()
    database.mkdir()
    replayed = stack.syntor("replay")  # which starts the stack
    try:
        assert replayed.returncode == 0, replayed.stderr
        assert _runs(stack) == ["before the damage"]
    finally:
        stack.down()
