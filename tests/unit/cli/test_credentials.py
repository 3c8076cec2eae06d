"""The key goes to the port of this home's own stack on loopback, and nowhere else."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from syntor.cli import credentials
from syntor.cli.credentials import authorization
from syntor.runtime.local_key import ensure_key
from syntor.stack.identity import started_mark
from syntor.stack.layout import Layout
from syntor.stack.state import StackState, write_state


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def _home(folder: Path, url: str) -> tuple[dict[str, str], dict[str, str]]:
    layout = Layout(folder)
    layout.create()
    mark = started_mark(os.getpid())
    write_state(layout.state, StackState(pid=os.getpid(), mark=mark, home=str(folder), token="t", url=url))
    return {"SYNTOR_HOME": str(folder)}, {"Authorization": f"Bearer {ensure_key(folder)}"}


def test_the_key_goes_to_the_own_stack_only(tmp_path: Path, port: int) -> None:
    environ, key = _home(tmp_path / "home", f"http://127.0.0.1:{port}")
    for own in (f"http://127.0.0.1:{port}", f"http://localhost:{port}/"):
        assert authorization(own, environ) == key
    for foreign in (
        f"http://127.0.0.1:{port + 1}",
        f"https://127.0.0.1:{port}",
        f"http://10.0.0.1:{port}",
        f"http://127.0.0.1.example.org:{port}",
        f"http://127.0.0.1@example.org:{port}",
        "http://127.0.0.1",
    ):
        assert authorization(foreign, environ) == {}
    assert authorization(f"http://127.0.0.1:{port}", {"SYNTOR_HOME": str(tmp_path / "other")}) == {}


def test_a_token_that_is_set_comes_first(tmp_path: Path, port: int) -> None:
    environ, _ = _home(tmp_path / "home", f"http://127.0.0.1:{port}")
    token = {"Authorization": "Bearer syntor_x_y"}
    for url in (f"http://127.0.0.1:{port}", "https://syntor.example.org"):
        assert authorization(url, environ | {"SYNTOR_TOKEN": "syntor_x_y"}) == token


def test_the_key_is_not_sent_where_another_account_took_the_port(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ, _ = _home(tmp_path / "home", f"http://127.0.0.1:{port}")
    monkeypatch.setattr(credentials, "listener_owner", lambda _: os.geteuid() + 1)
    assert authorization(f"http://127.0.0.1:{port}", environ) == {}
