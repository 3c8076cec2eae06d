"""The state file is replaced atomically, and identifies running processes correctly."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from syntor.stack.identity import is_alive, kill_group, started_mark, wait_gone
from syntor.stack.layout import Layout
from syntor.stack.leftovers import remove_leftovers
from syntor.stack.state import ServiceState, StackState, read_state, write_state

SLEEPER = [sys.executable, "-c", "import signal; signal.pause()"]


def _state(home: Path, **fields: object) -> StackState:
    return StackState(pid=os.getpid(), mark=started_mark(os.getpid()), home=str(home), token="t", **fields)  # type: ignore[arg-type]


def test_the_written_state_is_read_back_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    state = _state(tmp_path, url="http://x", services=[ServiceState(name="nats", pid=1, mark="m")])
    write_state(tmp_path / "stack.json", state)
    assert read_state(tmp_path / "stack.json") == state
    assert state.alive
    assert stat.S_IMODE((tmp_path / "stack.json").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["stack.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": "x"}'])
def test_an_unreadable_file_is_no_state(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "stack.json").write_bytes(content)
    assert read_state(tmp_path / "stack.json") is None


def test_a_reused_process_id_is_another_process() -> None:
    assert is_alive(os.getpid(), started_mark(os.getpid()))
    assert not is_alive(os.getpid(), "another boot:1")
    assert not is_alive(os.getpid(), "")
    assert not is_alive(0, started_mark(os.getpid()))
    assert not kill_group(os.getpid(), "another boot:1")


def test_orphans_of_a_killed_supervisor_are_killed(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.create()
    with subprocess.Popen(SLEEPER, start_new_session=True) as left:
        mark = started_mark(left.pid)
        services = [
            ServiceState(name="nats", pid=left.pid, mark=mark),
            ServiceState(name="ingress", pid=os.getpid(), mark="another life"),
        ]
        state = StackState(pid=1, mark="gone", home=str(tmp_path), token="t", services=services)
        write_state(layout.state, state)
        assert not state.alive
        notices = remove_leftovers(layout)
        assert wait_gone(left.pid, mark, 5.0)
    assert len(notices) == 1
    assert "nats" in notices[0]
    assert "ingress" not in notices[0]
    assert not layout.state.exists()


def test_without_orphans_there_is_no_notice(tmp_path: Path) -> None:
    assert remove_leftovers(Layout(tmp_path)) == []
