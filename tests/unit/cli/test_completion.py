"""Completion offers ids where ids go, and what an option takes after the option."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from syntor.cli.completion import complete

_ROWS = {
    "/v1/runs": {"runs": [{"run_id": "run-a", "status": "done", "input": "hi\u202e"}]},
    "/v1/sessions": {"sessions": [{"session_id": "ses-a", "agent": "git", "title": "t"}]},
    "/v1/agents": {"agents": [{"profile": {"agent_id": "mine", "description": "d"}}]},
}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Return rows."""
        body = json.dumps(_ROWS[self.path.partition("?")[0]]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    api = HTTPServer(("127.0.0.1", 0), _Handler)
    threading.Thread(target=api.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("SYNTOR_URL", f"http://127.0.0.1:{api.server_port}")
    monkeypatch.setenv("SYNTOR_HOME", str(tmp_path))
    yield
    api.shutdown()
    api.server_close()


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        (["runs", "show", ""], "run-a\tdone · hi<U+202E>\n"),
        (["sessions", "resume", "s"], "ses-a\tgit · t\n"),
        (["agents", "show", ""], "mine\td\n"),
        (["chat", "--agent", ""], "mine\td\n"),
        (["chat", "--session", ""], "ses-a\tgit · t\n"),
        (["runs", "show", "-o", "js"], "json\t\n"),
    ],
)
def test_ids_and_values_are_completed(line: list[str], offered: str) -> None:
    assert complete(line) == offered


def test_without_a_stack_nothing_is_offered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SYNTOR_URL", raising=False)
    monkeypatch.setenv("SYNTOR_HOME", str(tmp_path))
    assert complete(["runs", "show", ""]) == ""
