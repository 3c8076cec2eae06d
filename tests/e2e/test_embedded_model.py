"""The local model answers for real, through every service; weights are fetched once and kept for later test runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syntor.contracts.errors import NotReachableError
from syntor.models.weights import fetch
from syntor.testing.local_stack import LocalStack

MODEL = "qwen2.5-coder:0.5b"
CACHE = Path.home() / ".cache" / "syntor-tests"
TIMEOUT_S = 120.0  # seconds; loading and a short answer take a few on two idle cores


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A stack whose agents ask the small local model."""
    pytest.importorskip("xllamacpp", reason="the engine is not installed: pip install 'syntor[embedded]'")
    try:
        fetch(CACHE, MODEL, lambda *_: None)
    except NotReachableError as exc:
        pytest.skip(f"no source of {MODEL} is reachable: {exc}")
    home = tmp_path_factory.mktemp("home")
    (home / "models").symlink_to(CACHE / "models")
    local = LocalStack(home, environ={"SYNTOR_INFERENCE_PROVIDER": "embedded", "SYNTOR_INFERENCE_MODEL": MODEL})
    local.up("--durability", "fast")
    yield local
    local.down()


def _asked(stack: LocalStack, *arguments: str) -> dict[str, Any]:
    done = stack.syntor(*arguments, "-o", "json", timeout_s=TIMEOUT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    outcome: dict[str, Any] = json.loads(done.stdout)
    return outcome


def test_it_is_started_when_first_needed_and_answers(embedded: LocalStack) -> None:
    assert "model-server" not in {service["name"] for service in embedded.status()["services"]}
    outcome = _asked(embedded, "worker", "Answer with one word: what is the capital of France?")
    assert "Paris" in outcome["result"]
    assert outcome["model"] == f"embedded/{MODEL}"
    assert outcome["output_tokens"] > 0


def test_it_comes_back_after_it_was_killed(embedded: LocalStack) -> None:
    embedded.kill("model-server")
    outcome = _asked(embedded, "worker", "Answer with one word: what is the capital of Italy?")
    assert "Rome" in outcome["result"]


def test_it_looks_at_files_with_a_tool(embedded: LocalStack, workspace: Path) -> None:
    question = "Use list_directory to look up which files are in the folder '.'"
    outcome = _asked(embedded, "worker", question, "--workspace", str(workspace))
    events = embedded.syntor("runs", "events", outcome["run_id"], "-o", "json").stdout.splitlines()
    results = [json.loads(line) for line in events if '"tool_result"' in line]
    assert any("notes.txt" in result["data"]["content"] for result in results)


def test_it_is_not_fetched_behind_the_users_back(embedded: LocalStack) -> None:
    assert embedded.syntor("config", "set", "inference.auto_pull", "false").returncode == 0
    done = embedded.syntor("worker", "hello", "--model", "embedded/smollm2:135m")
    assert done.returncode == 1
    assert "syntor models pull smollm2:135m" in done.stderr
