"""Approvals through every service: many concurrently, from several clients, while processes are killed."""

from __future__ import annotations

import functools
import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from syntor.runtime.local_key import local_user
from syntor.testing.local_stack import LocalStack

COUNT = 50
CLIENTS = 3
KILLED = ("agent-worker", "orchestrator", "ingress", "projector")
Json = dict[str, Any]


def _echo(count: int) -> list[Json]:
    return [{"name": "bash", "arguments": {"command": f"echo {n} >> done.txt"}} for n in range(count)]


SCRIPT = {
    "rules": [
        {"match": "one file", "tool_calls": [{"name": "write_file", "arguments": {"path": "one.txt", "content": "1"}}]},
        {"match": "client", "tool_calls": [{"name": "screenshot", "arguments": {"window": 3}}]},
        {"match": "colour", "tool_calls": [{"name": "ask_user", "arguments": {
            "question": "Which?", "choices": ["red", "blue"], "allow_other": False}}]},
        {"match": "many", "tool_calls": _echo(COUNT)},
        {"tool_result": ".", "text": "Done with {input}."},
        {"text": "nothing to do"},
    ]
}  # fmt: skip


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    local = LocalStack(tmp_path_factory.mktemp("home"), script=yaml.safe_dump(SCRIPT, sort_keys=False))
    local.up("--durability", "fast")
    yield local
    local.down()


@pytest.fixture
def api(stack: LocalStack) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=stack.url, timeout=30) as client:
        yield client


Wait = Callable[..., Any]


def _start(api: httpx2.Client, text: str, workspace: Path, **fields: Any) -> Json:
    body = {"agent": "worker", "input": text, "workspace": str(workspace), **fields}
    response = api.post("/v1/runs", json=body)
    assert response.status_code == 202, response.text
    started: Json = response.json()
    return started


def _run(api: httpx2.Client, run_id: str) -> Json:
    run: Json = api.get(f"/v1/runs/{run_id}").json()
    return run


def _events(api: httpx2.Client, run_id: str, *types: str) -> list[Json]:
    response = api.get(f"/v1/runs/{run_id}/events", params={"limit": 1000, "types": ",".join(types)})
    events: list[Json] = response.json()["events"]
    return [event for event in events if event["subject"].startswith("task.")]


def _waiting(api: httpx2.Client, run_id: str, count: int) -> list[Json] | None:
    page = api.get(f"/v1/runs/{run_id}/approvals", params={"status": "pending", "limit": 500}).json()["approvals"]
    return page if len(page) == count else None


def _patient(ask: Callable[[], httpx2.Response]) -> httpx2.Response:
    """Repeat a request while the ingress is unavailable or cannot reach the log."""
    pause = threading.Event()
    for _ in range(300):
        try:
            response = ask()
        except httpx2.TransportError:
            pause.wait(0.1)
            continue
        if response.status_code != 503:
            return response
        pause.wait(0.1)
    raise AssertionError("the ingress stayed away")


def test_an_approved_call_is_made_and_the_run_continues(api: httpx2.Client, wait_for: Wait, tmp_path: Path) -> None:
    run_id = _start(api, "one file", tmp_path)["run_id"]
    [approval] = wait_for(lambda: _waiting(api, run_id, 1))
    assert wait_for(lambda: _run(api, run_id)["status"] == "paused_waiting_approval")
    assert "+1" in approval["preview"]
    path = f"/v1/runs/{run_id}/approvals/{approval['approval_id']}"
    other = api.post(path, json={"approved": True, "content_hash": "0" * 64})
    assert (other.status_code, other.json()["code"]) == (409, "approval_content_changed")
    assert not (tmp_path / "one.txt").exists()
    assert api.post(path, json={"approved": True, "content_hash": approval["content_hash"]}).status_code == 200
    assert api.post(path, json={"approved": True, "content_hash": approval["content_hash"]}).status_code == 200
    again = api.post(path, json={"approved": False, "content_hash": approval["content_hash"]})
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    assert f"approved by {local_user()} before" in again.json()["detail"]
    assert wait_for(lambda: _run(api, run_id)["status"] == "done")
    assert (tmp_path / "one.txt").read_text() == "1"
    assert api.get(path).json()["decision"]["approved"] is True
    for wrong in ("t1-c9_9", "unknown", "t9-c1_1"):
        assert (
            api.post(f"/v1/runs/{run_id}/approvals/{wrong}", json={"approved": True, "content_hash": "x"}).status_code
            == 404
        )


def test_a_rejection_carries_its_reason_to_the_agent(api: httpx2.Client, wait_for: Wait, tmp_path: Path) -> None:
    run_id = _start(api, "one file", tmp_path)["run_id"]
    [approval] = wait_for(lambda: _waiting(api, run_id, 1))
    decision = {"approved": False, "content_hash": approval["content_hash"], "reason": "not on Fridays"}
    api.post(f"/v1/runs/{run_id}/approvals/{approval['approval_id']}", json=decision)
    assert wait_for(lambda: _run(api, run_id)["status"] == "done")
    [result] = _events(api, run_id, "tool_result")
    assert (result["data"]["outcome"], result["data"]["is_error"]) == ("rejected", True)
    assert "not on Fridays" in result["data"]["content"]
    assert not (tmp_path / "one.txt").exists()


def test_an_approval_for_the_session_is_not_required_again(api: httpx2.Client, wait_for: Wait, tmp_path: Path) -> None:
    started = _start(api, "one file", tmp_path)
    [approval] = wait_for(lambda: _waiting(api, started["run_id"], 1))
    decision = {"approved": True, "content_hash": approval["content_hash"], "scope": "session"}
    api.post(f"/v1/runs/{started['run_id']}/approvals/{approval['approval_id']}", json=decision)
    assert wait_for(lambda: _run(api, started["run_id"])["status"] == "done")
    second = _start(api, "one file", tmp_path, session_id=started["session_id"])["run_id"]
    assert wait_for(lambda: _run(api, second)["status"] == "done")
    assert _events(api, second, "approval_required") == []
    [policy] = _events(api, second, "policy_decision")
    assert policy["data"]["reason"] == "rule write_file allows it"


def test_a_cancelled_run_accepts_no_decision(api: httpx2.Client, wait_for: Wait, tmp_path: Path) -> None:
    run_id = _start(api, "one file", tmp_path)["run_id"]
    [approval] = wait_for(lambda: _waiting(api, run_id, 1))
    api.post(f"/v1/runs/{run_id}/cancel")
    assert wait_for(lambda: _run(api, run_id)["status"] == "cancelled")
    body = {"approved": True, "content_hash": approval["content_hash"]}
    assert api.post(f"/v1/runs/{run_id}/approvals/{approval['approval_id']}", json=body).status_code == 409
    assert _waiting(api, run_id, 0) == []
    [void] = api.get(f"/v1/runs/{run_id}/approvals").json()["approvals"]
    assert void["status"] == "void"


def test_a_client_tool_is_requested_and_its_result_accepted_once(
    api: httpx2.Client, wait_for: Wait, tmp_path: Path
) -> None:
    tool = {"name": "screenshot", "description": "Look at a window", "parameters": {"type": "object", "properties": {}}}
    assert api.put("/v1/sessions/with-tools/tools", json={"tools": [tool]}).status_code == 200
    run_id = _start(api, "client", tmp_path, session_id="with-tools")["run_id"]
    assert wait_for(lambda: _run(api, run_id)["status"] == "paused_waiting_tool")
    [requested] = _events(api, run_id, "tool_request")
    assert (requested["data"]["name"], requested["data"]["arguments"]) == ("screenshot", '{"window":3}')
    path = f"/v1/runs/{run_id}/tool_results/t1-{requested['data']['call_id']}"
    assert api.post(f"{path}9", json={"content": "x"}).status_code == 404
    assert api.post(path, json={"content": "a cat"}).status_code == 200
    assert api.post(path, json={"content": "a cat"}).status_code == 200  # repeated
    assert api.post(path, json={"content": "a dog"}).status_code == 409
    assert wait_for(lambda: _run(api, run_id)["status"] == "done")
    [result] = _events(api, run_id, "tool_result")
    assert (result["data"]["content"], result["data"]["outcome"]) == ("a cat", "submitted")


def test_a_question_is_answered_once_whoever_was_restarted_meanwhile(
    stack: LocalStack, api: httpx2.Client, wait_for: Wait, tmp_path: Path
) -> None:
    run_id = _start(api, "colour", tmp_path)["run_id"]
    assert wait_for(lambda: _run(api, run_id)["status"] == "paused_waiting_tool")
    [asked] = api.get(f"/v1/runs/{run_id}/questions").json()["questions"]
    assert (asked["text"], asked["choices"], asked["asked_by"]) == ("Which?", ["red", "blue"], "worker")
    stack.kill("agent-worker")
    path = f"/v1/runs/{run_id}/questions/{asked['question_id']}"
    assert "expected one of red, blue" in api.post(path, json={"text": "green"}).text
    assert api.post(path, json={"values": {"a": 1}}).status_code == 400
    assert api.post(f"/v1/runs/{run_id}/questions/t1-c7_7", json={"text": "red"}).status_code == 404
    listed = stack.syntor("questions", "list", "-o", "json")
    assert [each["question_id"] for each in json.loads(listed.stdout)["questions"]] == [asked["question_id"]]
    answered = stack.syntor("questions", "answer", run_id, "--text", "2")
    assert (answered.returncode, answered.stdout) == (0, "answered\n")
    assert api.post(path, json={"text": "red"}).status_code == 409
    assert wait_for(lambda: _run(api, run_id)["status"] == "done")
    [result] = _events(api, run_id, "tool_result")
    assert (result["data"]["content"], result["data"]["outcome"]) == ("blue", "submitted")


def test_fifty_concurrent_decisions_of_three_clients_while_services_die(
    stack: LocalStack, api: httpx2.Client, wait_for: Wait, tmp_path: Path
) -> None:
    run_id = _start(api, "many", tmp_path)["run_id"]
    approvals = wait_for(lambda: _waiting(api, run_id, COUNT))
    dice = random.Random(50)
    approved = {each["approval_id"] for each in approvals if dice.random() < 0.7}
    statuses: list[tuple[str, bool, int]] = []

    def client(number: int) -> None:
        mine = list(approvals)
        random.Random(number).shuffle(mine)  # every client decides all, each in its own order
        with httpx2.Client(base_url=stack.url, timeout=10) as own:
            for each in mine:
                yes = each["approval_id"] in approved
                body = {"approved": yes, "content_hash": each["content_hash"], "reason": str(number)}
                path = f"/v1/runs/{run_id}/approvals/{each['approval_id']}"
                response = _patient(functools.partial(own.post, path, json=body))
                statuses.append((each["approval_id"], yes, response.status_code))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for name in KILLED:
        stack.kill(name)
        wait_for(lambda name=name: stack.service(name)["state"] == "ready")
    for thread in threads:
        thread.join(120)
    assert wait_for(lambda: _patient(lambda: api.get(f"/v1/runs/{run_id}")).json()["status"] == "done", 90)
    assert {status for _, _, status in statuses} <= {200, 409}
    taken = Counter(approval_id for approval_id, _, status in statuses if status == 200)
    assert set(taken.values()) <= {1}  # every client gives a reason of its own
    commands = {each["approval_id"]: each["preview"].removeprefix("$ ") for each in approvals}
    expected = sorted(int(commands[approval_id].split()[1]) for approval_id in approved)
    written = sorted(int(line) for line in (tmp_path / "done.txt").read_text().split())
    results = {event["data"]["call_id"]: event["data"] for event in _events(api, run_id, "tool_result")}
    unknown = {call_id for call_id, data in results.items() if data.get("outcome") == "unknown"}  # killed while it ran
    assert set(written) <= set(expected)
    assert len(written) == len(set(written))
    assert len(expected) - len(written) <= len(unknown)
    applied = Counter(event["data"]["approval_id"] for event in _events(api, run_id, "approval_applied"))
    assert set(applied.values()) == {1}
    assert set(applied) == set(commands)
    for event in _events(api, run_id, "approval_applied"):
        assert event["data"]["approved"] is (event["data"]["approval_id"] in approved)
    assert len(results) == COUNT
    assert Counter(event["data"]["call"] for event in _events(api, run_id, "llm_call_done")) == {1: 1, 2: 1}


def test_the_read_models_equal_a_rebuild_after_all_that(stack: LocalStack) -> None:
    verified = stack.syntor("replay", "--verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
