"""A command that is interrupted says that a run is stopped once the log has it, and else how to stop it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from syntor.testing.terminal import Terminal, interruptible

WAIT_S = 30.0
FULL = {"code": "storage_full", "title": "The log is full", "detail": "the log is full"}
ACCEPTED = {"run_id": "r1", "session_id": "s1", "position": 1}


class Server(ThreadingHTTPServer):
    """An API whose log takes nothing until `stores` is set."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.stores = threading.Event()
        self.starts = True
        """Whether a run can be started although nothing else is stored."""
        self.following = threading.Event()
        self.refused = threading.Event()
        """Set by the second request that was not stored."""
        self.count = 0
        self.cancelled: list[str] = []
        self.ending = threading.Event()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Follow a run, which never ends."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(b"retry: 2000\n\n")
        self.wfile.flush()
        server = self.api
        server.following.set()
        server.ending.wait(WAIT_S)

    def do_POST(self) -> None:
        """Start or cancel a run."""
        self.rfile.read(int(self.headers["Content-Length"]))
        starts = self.path.endswith("/v1/runs")
        server = self.api
        stored = server.stores.is_set() or (starts and server.starts)
        if not stored:
            server.count += 1
            if server.count == 2:
                server.refused.set()
        elif not starts:
            server.cancelled.append(self.path)
        body = json.dumps(ACCEPTED if stored else FULL).encode()
        self.send_response(202 if stored else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @property
    def api(self) -> Server:
        """The server, with its own type."""
        assert isinstance(self.server, Server)
        return self.server

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    """A server in a thread."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.ending.set()
    server.shutdown()
    server.server_close()


def chat(server: Server, home: Path, *arguments: str) -> subprocess.Popen[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SYNTOR_")}
    environ |= {"SYNTOR_URL": f"http://127.0.0.1:{server.server_port}", "SYNTOR_HOME": str(home)}
    command = [sys.executable, "-m", "syntor.cli.main", *arguments]
    return subprocess.Popen(
        command,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=interruptible,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    output, errors = process.communicate(timeout=WAIT_S)
    return process.returncode, output, errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_cancellation_is_delivered_when_the_log_is_back(server: Server, tmp_path: Path, number: int) -> None:
    process = chat(server, tmp_path, "chat", "hello", "-o", "json")
    assert server.following.wait(WAIT_S)
    process.send_signal(number)
    assert server.refused.wait(WAIT_S)
    assert process.poll() is None
    server.stores.set()
    code, output, _ = ended(process)
    outcome: dict[str, Any] = json.loads(output)
    assert (code, outcome["status"]) == (128 + number, "cancelled")
    assert server.cancelled == [f"/v1/runs/{outcome['run_id']}/cancel"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_who_leaves_before_the_log_is_back_is_told_how_to_stop(server: Server, tmp_path: Path, number: int) -> None:
    process = chat(server, tmp_path, "chat", "hello")
    assert server.following.wait(WAIT_S)
    process.send_signal(number)
    assert server.refused.wait(WAIT_S)
    process.send_signal(number)
    code, _, errors = ended(process)
    assert code == 128 + number
    assert "error: not stopped (the log is full); run: syntor runs cancel " in errors
    assert "cancelled" not in errors


def test_a_message_that_is_interrupted_while_it_is_sent_is_cancelled_once_it_is_stored(
    server: Server, tmp_path: Path
) -> None:
    server.starts = False
    process = chat(server, tmp_path, "chat", "hello", "-o", "json")
    assert server.refused.wait(WAIT_S)
    process.send_signal(signal.SIGTERM)
    server.stores.set()
    code, output, _ = ended(process)
    assert (code, json.loads(output)["status"]) == (143, "cancelled")
    assert server.cancelled == [f"/v1/runs/{json.loads(output)['run_id']}/cancel"]


def test_runs_cancel_waits_and_says_so(server: Server, tmp_path: Path) -> None:
    process = chat(server, tmp_path, "runs", "cancel", "0" * 26)
    assert server.refused.wait(WAIT_S)
    process.send_signal(signal.SIGINT)
    code, output, errors = ended(process)
    assert (code, output) == (130, "")
    assert f"error: not stopped; run: syntor runs cancel {'0' * 26}" in errors


def session(server: Server, home: Path) -> Terminal:
    return Terminal(
        [sys.executable, "-m", "syntor.cli.main"],
        home,
        {"SYNTOR_URL": f"http://127.0.0.1:{server.server_port}", "SYNTOR_HOME": str(home)},
    )


def test_a_session_keeps_the_wish_to_cancel_until_the_log_has_it(server: Server, tmp_path: Path) -> None:
    terminal = session(server, tmp_path)
    terminal.expect("coordination>")
    terminal.type("hello\r")
    assert server.following.wait(WAIT_S)
    terminal.type("\x1b")
    terminal.expect("note: not stopped yet: the log is full; trying again while this session is open")
    terminal.type("\x03")
    terminal.expect("(not stopped yet: trying again while this session is open)")
    terminal.expect("coordination>")
    server.stores.set()
    terminal.expect("is stored now")
    terminal.type("\x04")
    assert terminal.exit_code() == 0
    assert len(server.cancelled) == 1


def test_a_session_that_ends_before_the_log_has_it_says_so(server: Server, tmp_path: Path) -> None:
    terminal = session(server, tmp_path)
    terminal.expect("coordination>")
    terminal.type("hello\r")
    assert server.following.wait(WAIT_S)
    terminal.process.terminate()
    terminal.expect("error: not stopped (the log is full); run: syntor runs cancel ")
    assert terminal.exit_code() == 143
