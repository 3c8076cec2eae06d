"""The model server is started once for all callers, restarted after an exit, and runs one model at a time."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from syntor.stack.identity import is_alive
from syntor.stack.model_server import ModelServer

KNOWN = ("a", "b", "broken", "refused")
SCRIPT = Path(__file__).parent / "model_stand_in.py"


def _command(model: str, home: Path) -> list[str]:
    return [sys.executable, str(SCRIPT), model]


@pytest.fixture
def changed() -> asyncio.Event:
    """Set when the state of the server changes."""
    return asyncio.Event()


@pytest.fixture
async def server(tmp_path: Path, changed: asyncio.Event) -> AsyncIterator[ModelServer]:
    """A server without a request yet."""
    found = ModelServer(tmp_path, tmp_path / "model-server.log", os.environ, changed.set, _command, KNOWN)
    yield found
    await found.stop()


async def _ask(server: ModelServer, model: str) -> list[dict[str, Any]]:
    async with asyncio.timeout(20):
        return [msgspec.json.decode(line) async for line in server.lines(model)]


async def test_concurrent_callers_share_one_start(server: ModelServer) -> None:
    answers = await asyncio.gather(*(_ask(server, "a") for _ in range(5)))
    assert [answer[-1]["state"] for answer in answers] == ["ready"] * 5
    assert [line["state"] for line in answers[0]] == ["loading", "ready"]
    assert (server.state.state, server.state.restarts) == ("ready", 0)
    pid = server.state.pid
    assert await _ask(server, "a") == [answers[0][-1]]
    assert server.state.pid == pid


async def test_an_exited_server_is_restarted_by_the_next_caller(server: ModelServer, changed: asyncio.Event) -> None:
    await _ask(server, "a")
    changed.clear()
    pid, mark = server.state.pid, server.state.mark
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(10):
        await changed.wait()
    assert not is_alive(pid, mark)
    assert (await _ask(server, "a"))[-1]["state"] == "ready"
    assert server.state.pid != pid
    assert server.state.restarts == 1


async def test_another_model_stops_the_running_one(server: ModelServer) -> None:
    await _ask(server, "a")
    pid, mark = server.state.pid, server.state.mark
    assert (await _ask(server, "b"))[-1]["model"] == "b"
    assert not is_alive(pid, mark)
    await server.stop()
    assert server.state.pid == 0


async def test_an_unknown_model_leaves_the_running_one_alone(server: ModelServer) -> None:
    await _ask(server, "a")
    pid = server.state.pid
    answer = await _ask(server, "nosuch")
    assert answer == [{"state": "failed", "message": "no embedded model 'nosuch'; there are: a, b, broken, refused"}]
    assert (server.state.pid, server.state.state) == (pid, "ready")


@pytest.mark.parametrize(("model", "says"), [("broken", "no such file: broken.gguf"), ("refused", "no such model")])
async def test_a_failed_start_has_a_reason_and_can_be_retried(server: ModelServer, model: str, says: str) -> None:
    for _ in range(2):
        answer = await _ask(server, model)
        assert answer[-1]["state"] == "failed"
        assert says in answer[-1]["message"]
    assert (await _ask(server, "a"))[-1]["state"] == "ready"
