"""An agent written as the agent kit's docstring shows joins the running stack, and says what its start waits for."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

import syntor.agentkit
from syntor.testing.local_stack import LocalStack
from syntor.testing.nats_server import NatsServer

MANIFEST = "id: greeter\nname: Greeter\ndescription: Greets people\nprompt: You greet.\n"
DEADLINE_S = 30.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the program of the docstring and its manifest."""
    found = re.search(r"\n\n((?:    .*\n|\n)+)", syntor.agentkit.__doc__ or "")
    assert found is not None
    (tmp_path / "agent.py").write_text(textwrap.dedent(found[1]))
    (tmp_path / "manifest.yaml").write_text(MANIFEST)
    return tmp_path


def _start(folder: Path, home: Path, **environ: str) -> subprocess.Popen[str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith("SYNTOR_")}
    return subprocess.Popen(
        [sys.executable, "agent.py"],
        cwd=folder,
        env={**kept, "SYNTOR_HOME": str(home), **environ},
        stderr=subprocess.PIPE,
        text=True,
    )


def _until_it_says(process: subprocess.Popen[str], *words: str) -> str:
    assert process.stderr is not None
    deadline = time.monotonic() + DEADLINE_S
    for line in process.stderr:
        if all(word in line for word in words):
            return line
        assert time.monotonic() < deadline, line
    pytest.fail(f"it ended without {words}")


def test_it_works_as_printed(stack: LocalStack, folder: Path, wait_for: Callable[..., Any]) -> None:
    environ = {"SYNTOR_INFERENCE_PROVIDER": "scripted", "SYNTOR_SCRIPT": str(stack.script)}
    process = _start(folder, stack.home, **environ)
    try:
        wait_for(lambda: httpx2.get(f"{stack.url}/v1/agents/greeter", timeout=10).status_code == 200)
        done = stack.syntor("chat", "--agent", "greeter", "hello")
        assert (done.returncode, done.stdout.strip()) == (0, "The scripted answer."), done.stderr
    finally:
        process.terminate()
        _, said = process.communicate(timeout=30)
    assert process.returncode == 0
    assert '"service":"agent-greeter"' in said


def test_a_start_says_what_it_waits_for(folder: Path, tmp_path: Path) -> None:
    alone = _start(folder, tmp_path / "nothing", SYNTOR_NATS_URL="nats://127.0.0.1:9")
    try:
        _until_it_says(alone, "start_waits", "NATS", "127.0.0.1:9")
    finally:
        alone.kill()
        alone.communicate()
    with NatsServer(tmp_path / "nats") as server:
        bare = _start(folder, tmp_path / "nothing", SYNTOR_NATS_URL=server.url)
        try:
            line = _until_it_says(bare, "start_waits", "registry")
            assert "syntor admin apply" in line
        finally:
            bare.kill()
            bare.communicate()


@pytest.mark.parametrize(
    ("manifest", "environ", "says"),
    [
        ("id: [", {}, "manifest.yaml"),
        (MANIFEST, {"SYNTOR_NATS_KEYS": "/nowhere"}, "/nowhere/agent-greeter.nk"),
    ],
)
def test_what_a_person_must_correct_ends_the_start(
    folder: Path, tmp_path: Path, manifest: str, environ: dict[str, str], says: str
) -> None:
    (folder / "manifest.yaml").write_text(manifest)
    process = _start(folder, tmp_path / "nothing", **environ)
    _, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 3
    assert says in said
    assert "Traceback" not in said
