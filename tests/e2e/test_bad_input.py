"""Bad input of every kind: a clear error with the exit code or problem of the catalogue, and nothing lost."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import httpx2
import pytest

from syntor.testing.local_stack import LocalStack


def _problem(response: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["code"] == code
    assert body["status"] == status
    assert body["trace_id"] == response.headers["x-trace-id"]
    return body


def test_an_unknown_agent_is_not_found_and_the_known_ones_are_named(http: httpx2.Client) -> None:
    body = _problem(http.post("/v1/runs", json={"agent": "wrker", "input": "x"}), 404, "not_found")
    assert "worker" in body["detail"]


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ({"agent": "worker", "input": ""}, "input"),
        ({"agent": "worker", "input": "  "}, "input"),
        ({"agent": "worker"}, "input"),
        ({"input": "x"}, "agent"),
        ({"agent": "worker", "input": 7}, "input"),
        ({"agent": "worker", "input": "x", "session_id": "a.b"}, "session_id"),
        ({"agent": "worker", "input": "x", "imput": "y"}, "imput"),
        ({"agent": "worker", "input": "x", "metadata": {"a": 1}}, "metadata"),
        ({"agent": "worker", "input": "x", "budget": {"max_tokens": "many"}}, "budget"),
    ],
)
def test_a_wrong_field_is_named(http: httpx2.Client, content: dict[str, Any], field: str) -> None:
    body = _problem(http.post("/v1/runs", json=content), 400, "invalid_input")
    assert field in body["errors"][0]["field"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"text"', b"\xff\xfe{}", b'{"agent": "worker",}'])
def test_malformed_json_is_refused(http: httpx2.Client, content: bytes) -> None:
    _problem(http.post("/v1/runs", content=content, headers={"Content-Type": "application/json"}), 400, "invalid_input")


def test_an_oversize_body_is_refused(http: httpx2.Client) -> None:
    response = http.post("/v1/runs", json={"agent": "worker", "input": "x" * (1024 * 1024 + 1)})
    assert _problem(response, 413, "too_large")


def test_a_large_input_goes_through_the_blob_store_whole(http: httpx2.Client) -> None:
    text = "word " * 100_000
    response = http.post("/v1/runs", json={"agent": "worker", "input": text}, headers={"Prefer": "wait=30"})
    assert (response.status_code, response.json()["status"]) == (200, "done"), response.text[:500]
    assert response.json()["input"] == text
    events = http.get(f"/v1/runs/{response.json()['run_id']}/events").json()["events"]
    assert events[0]["data"]["content"] == text


def test_unknown_paths_runs_and_methods_are_problems(http: httpx2.Client) -> None:
    _problem(http.get("/v1/nothing"), 404, "not_found")
    _problem(http.get("/v1/runs/nosuchrun"), 404, "not_found")
    _problem(http.get("/v1/runs/nosuchrun/events"), 404, "not_found")
    _problem(http.post("/v1/runs/nosuchrun/cancel", json={}), 404, "not_found")
    _problem(http.delete("/v1/runs"), 405, "method_not_allowed")


def test_a_page_of_another_origin_is_refused(http: httpx2.Client) -> None:
    request = {"agent": "worker", "input": "x"}
    assert http.post("/v1/runs", json=request, headers={"Origin": "https://evil.example"}).status_code == 403
    assert http.get("/v1/runs", headers={"Host": "evil.example"}).status_code == 403


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["chat", ""], 2, "empty"),
        (["chat"], 2, ""),
        (["nosuchcommand"], 2, "nosuchcommand"),
        (["chat", "x", "--model", "nowhere/model"], 1, "nowhere"),
        (["config", "get", "inference.defalt_model"], 2, "inference.default_model"),
        (["config", "set", "inference.auto_pull", "perhaps"], 2, "perhaps"),
        (["models", "assign", "wrker", "mistral:7b"], 2, "worker"),
        (["runs", "show", "nosuchrun"], 1, "nosuchrun"),
        (["logs", "nosuchservice"], 2, "ingress"),
    ],
)
def test_a_wrong_command_says_what_is_wrong(stack: LocalStack, arguments: list[str], code: int, says: str) -> None:
    done = stack.syntor(*arguments)
    assert done.returncode == code, done.stdout + done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_malformed_configuration_names_file_line_and_reason(stack: LocalStack, tmp_path: Path) -> None:
    other = LocalStack(tmp_path / "home")
    (other.home / "config.yaml").write_text("inference:\n  provider: [unclosed\n")
    done = other.syntor("config", "show")
    assert done.returncode == 3, done.stderr
    assert "config.yaml" in done.stderr
    assert "line" in done.stderr
    (other.home / "config.yaml").write_text("inference:\n  providr: ollama\n")
    done = other.syntor("up", "--detach")
    assert done.returncode == 3, done.stderr
    assert "inference.provider" in done.stderr


def test_a_second_up_on_the_same_home_says_so(stack: LocalStack) -> None:
    done = stack.syntor("up", "--detach")
    assert "already" in done.stdout + done.stderr
    assert stack.url in done.stdout + done.stderr


def test_two_homes_run_side_by_side_and_a_taken_port_is_replaced(stack: LocalStack, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        other = LocalStack(tmp_path / "home", environ={"SYNTOR_HTTP_PORT": str(taken.getsockname()[1])})
        with other:
            assert other.url != stack.url
            done = other.syntor("chat", "hello")
            assert (done.returncode, done.stdout.strip()) == (0, "The scripted answer."), done.stderr
            assert json.loads(stack.syntor("runs", "list", "-o", "json").stdout)["runs"] is not None


def test_a_model_that_is_not_there_names_the_fix(stack: LocalStack) -> None:
    away = stack.syntor("worker", "x", "--model", "ollama/mistral:7b")
    assert away.returncode == 1
    assert "11434" in away.stderr
    unknown = stack.syntor("worker", "x", "--model", "embedded/nosuchmodel")
    assert unknown.returncode == 1
    assert "qwen2.5-coder" in unknown.stderr


def test_a_broken_custom_command_is_reported_in_one_line(stack: LocalStack) -> None:
    folder = stack.home / "commands"
    folder.mkdir(exist_ok=True)
    (folder / "broken.md").write_text("---\ndescription: [\n---\ntext\n")
    done = stack.syntor("doctor")
    assert "broken.md" in done.stdout + done.stderr
    (folder / "broken.md").unlink()


def test_an_unreachable_server_is_exit_4(stack: LocalStack) -> None:
    stack.environ["SYNTOR_URL"] = "http://127.0.0.1:9"
    try:
        done = stack.syntor("chat", "hello")
    finally:
        del stack.environ["SYNTOR_URL"]
    assert done.returncode == 4, done.stderr
    assert "127.0.0.1:9" in done.stderr
