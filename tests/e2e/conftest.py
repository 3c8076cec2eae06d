"""Fixtures: a whole local stack, one per module where tests only add runs, and a client of its HTTP API."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from syntor.testing.local_stack import LocalStack

SCRIPT = """
rules:
  - match: slow
    text: one two three four five six seven eight nine ten
    chunk_words: 1
    chunk_delay_s: 0.2
  - match: tool
    times: 1
    delay_s: 0.2
    tool_calls: [{name: list_directory, arguments: {path: .}}]
  - tool_result: .
    delay_s: 0.3
    chunk_words: 1
    chunk_delay_s: 0.3
    text: I looked and this is what there is
  - match: fail
    error: {code: model_unavailable, message: the scripted model is unavailable}
  - text: The scripted answer.
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A stack that is up, in a home of its own, with the fast durability."""
    local = LocalStack(tmp_path_factory.mktemp("home"), script=SCRIPT)
    local.up("--durability", "fast")
    yield local
    local.down()


@pytest.fixture
def http(stack: LocalStack) -> Iterator[httpx2.Client]:
    """A client of the module's stack."""
    with httpx2.Client(base_url=stack.url, timeout=30) as client:
        yield client


def event_objects(response: httpx2.Response) -> Iterator[dict[str, Any]]:
    """Yield the event objects of an event stream; each must carry its position as id."""
    fields: dict[str, str] = {}
    for line in response.iter_lines():
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        elif "data" in fields:
            event: dict[str, Any] = json.loads(fields["data"])
            assert fields["id"] == str(event["position"])
            assert fields["event"] == event["type"]
            fields = {}
            yield event


@pytest.fixture
def follow() -> Callable[[httpx2.Response], Iterator[dict[str, Any]]]:
    """Reads event objects from a streamed response."""
    return event_objects


@pytest.fixture
def wait_for() -> Callable[[Callable[[], Any], float], Any]:
    """Waits until a condition holds, and returns its value; fails at the deadline."""

    def wait(condition: Callable[[], Any], timeout_s: float = 30.0) -> Any:
        deadline, pause = time.monotonic() + timeout_s, threading.Event()
        while time.monotonic() < deadline:
            value = condition()
            if value:
                return value
            pause.wait(0.05)  # polls another process: yield the processor to it
        pytest.fail(f"condition not met within {timeout_s} s")

    return wait


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A folder an agent may look at."""
    (tmp_path / "notes.txt").write_text("something to find\n")
    return tmp_path
