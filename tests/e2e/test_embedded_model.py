"""A run with the real local model, through every service; weights are fetched once and kept for later test runs."""

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


def _chat(stack: LocalStack, *arguments: str) -> dict[str, Any]:
    done = stack.syntor(*arguments, "-o", "json", timeout_s=TIMEOUT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    outcome: dict[str, Any] = json.loads(done.stdout)
    return outcome


def test_it_is_started_when_first_needed_and_answers(embedded: LocalStack) -> None:
    assert "model-server" not in {service["name"] for service in embedded.status()["services"]}
    outcome = _chat(embedded, "worker", "Answer with one word: what is the capital of France?")
    assert "Paris" in outcome["result"]
    assert outcome["model"] == f"embedded/{MODEL}"
    assert outcome["output_tokens"] > 0


def test_it_comes_back_after_it_was_killed(embedded: LocalStack) -> None:
    embedded.kill("model-server")
    outcome = _chat(embedded, "worker", "Answer with one word: what is the capital of Italy?")
    assert "Rome" in outcome["result"]


def test_it_looks_at_files_with_a_tool(embedded: LocalStack, workspace: Path) -> None:
    question = "Use list_directory to look up which files are in the folder '.'"
    outcome = _chat(embedded, "worker", question, "--workspace", str(workspace))
    events = embedded.syntor("runs", "events", outcome["run_id"], "-o", "json").stdout.splitlines()
    results = [json.loads(line) for line in events if '"tool_result"' in line]
    assert any("notes.txt" in result["data"]["content"] for result in results)


@pytest.mark.parametrize(
    ("request_text", "tool", "result"),
    [
        ("read the file src/greet.py and say what LIMIT is", "read_file", "LIMIT = 10"),
        ("grep for GREETING in the files and say where it is used", "grep", "src/greet.py:1:"),
        ("edit src/greet.py: change LIMIT = 10 to LIMIT = 20", "edit_file", "+LIMIT = 20"),
    ],
)
def test_it_reads_searches_and_edits(
    embedded: LocalStack, tmp_path: Path, request_text: str, tool: str, result: str
) -> None:
    file = tmp_path / "src" / "greet.py"
    file.parent.mkdir()
    file.write_text('GREETING = "hello"\nLIMIT = 10\n\n\ndef greet(name):\n    return f"{GREETING}, {name}"\n')
    outcome = _chat(embedded, "worker", "--code", "--mode", "auto-edit", "--workspace", str(tmp_path), request_text)
    lines = embedded.syntor("runs", "events", outcome["run_id"], "-o", "json").stdout.splitlines()
    events = [json.loads(line) for line in lines]
    assert tool in {event["data"]["name"] for event in events if event["type"] == "tool_call_created"}
    assert any(result in event["data"]["content"] for event in events if event["type"] == "tool_result")
    assert ("LIMIT = 20" in file.read_text()) is (tool == "edit_file")


def test_it_is_not_fetched_behind_the_users_back(embedded: LocalStack) -> None:
    assert embedded.syntor("config", "set", "inference.auto_pull", "false").returncode == 0
    done = embedded.syntor("worker", "hello", "--model", "embedded/smollm2:135m")
    assert done.returncode == 1
    assert "syntor models pull smollm2:135m" in done.stderr
