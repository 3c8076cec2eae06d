"""Several agents on one run through every service: plans, delegation, handoff, guards, budgets, forks, rewinds."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from syntor.testing.local_stack import LocalStack
from syntor.testing.random_turns import picture

Json = dict[str, Any]
Wait = Callable[..., Any]
FAN = 50
TOKENS_PER_STEP = 40  # 30 in, 10 out: usage of a step in the script
DIAMOND = {
    "first": [],
    **{f"left{n}": ["first"] if n == 1 else [f"left{n - 1}"] for n in range(1, 4)},
    **{f"wide{n}": ["first"] for n in range(1, 7)},
    "join": ["left3", *(f"wide{n}" for n in range(1, 7))],
    "last": ["join"],
}


def _plan(steps: dict[str, list[str]], agent: str = "worker", action: str = "slow step") -> Json:
    listed = [
        {"id": name, "agent": agent, "action": f"{action} {name}", "depends_on": on} for name, on in steps.items()
    ]
    return {"name": "plan", "arguments": {"summary": "all of it", "steps": listed}}


def _bash(command: str) -> Json:
    return {"name": "bash", "arguments": {"command": command}}


def _delegate(agent: str, task: str, name: str = "delegate") -> Json:
    return {"name": name, "arguments": {"agent": agent, "task": task}}


SCRIPT = {
    "rules": [
        {"match": "note one", "tool_calls": [_bash("echo one >> notes; mkdir d; echo x > d/new; chmod 700 keep")]},
        {"match": "note two", "tool_calls": [_bash("echo two >> notes; rm keep; ln -s notes link")]},
        {"match": "diamond", "tool_calls": [_plan(DIAMOND)]},
        {"match": "fan out", "tool_calls": [_plan({f"s{n}": [] for n in range(FAN)}, action="costly step")]},
        {"match": "broken plan", "tool_calls": [_plan({"a": [], "b": ["a"], "c": ["b"], "d": []}, action="failing")]},
        {"match": "circle", "tool_calls": [_plan({"a": ["b"], "b": ["a"]})]},
        {"match": "ask two", "tool_calls": [_delegate("git", "part one"), _delegate("docs", "part two")]},
        {"match": "hand over", "tool_calls": [_delegate("git", "take this", "handoff")]},
        {"match": "ask yourself", "tool_calls": [_delegate("coordination", "ask yourself")]},
        {"match": "ask unknown", "tool_calls": [_delegate("unknown", "x")]},
        {"match": "same twice", "tool_calls": [_delegate("git", "part one"), _delegate("git", "Part  one")]},
        {"match": "slow step", "delay_s": 0.3, "text": "{input} is done"},
        {"match": "costly step", "delay_s": 0.05, "text": "ok", "usage": {"input_tokens": 30, "output_tokens": 10}},
        {"match": "failing a", "error": {"code": "bad_response", "message": "the script says no"}},
        {"match": "part|take this|failing", "text": "[{input}]"},
        {"tool_result": ".", "text": "All in all."},
        {"match": "remember", "text": "I will."},
        {"text": "The scripted answer."},
    ]
}


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


def _start(api: httpx2.Client, text: str, **fields: Any) -> Json:
    answer = api.post("/v1/runs", json={"agent": "coordination", "input": text, **fields})
    assert answer.status_code == 202, answer.text
    started: Json = answer.json()
    return started


def _ended(api: httpx2.Client, run_id: str) -> Json | None:
    try:
        answer = api.get(f"/v1/runs/{run_id}")
    except httpx2.TransportError:
        return None
    run: Json = answer.json()
    return run if answer.status_code == 200 and run["ended_at"] else None


def _events(api: httpx2.Client, run_id: str, *types: str) -> list[Json]:
    found: list[Json] = []
    after: int | None = 0
    while after is not None:
        page = api.get(f"/v1/runs/{run_id}/events", params={"limit": 1000, "after": after, "types": ",".join(types)})
        found += page.json()["events"]
        after = page.json()["next_after"]
    return found


def _at(event: Json) -> float:
    return datetime.fromisoformat(event["time"]).timestamp()


def test_a_plan_runs_as_parallel_as_it_can_and_reports_its_progress(
    stack: LocalStack, api: httpx2.Client, wait_for: Wait
) -> None:
    run_id = _start(api, "diamond")["run_id"]
    halfway = wait_for(lambda: (run := api.get(f"/v1/runs/{run_id}").json())["steps_completed"] and run)
    assert (halfway["steps"], halfway["status"]) == (12, "running")
    run = wait_for(lambda: _ended(api, run_id))
    assert (run["status"], run["final_message"], run["steps_completed"]) == ("done", "All in all.", 12)
    tasks = {task["step"]: task for task in run["tasks"] if task.get("step")}
    assert {task["status"] for task in tasks.values()} == {"done"}
    began = {e["subject"].rpartition(".")[2]: _at(e) for e in _events(api, run_id, "agent_invoke_started")}
    over = {e["subject"].rpartition(".")[2]: _at(e) for e in _events(api, run_id, "agent_invoke_done")}
    ids = {name: task["task_id"] for name, task in tasks.items()}
    for name, needs in DIAMOND.items():
        for other in needs:
            assert over[ids[other]] <= began[ids[name]]
    wide = [ids[f"wide{n}"] for n in range(1, 7)] + [ids["left1"]]
    assert max(began[task] for task in wide) < min(over[task] for task in wide)  # all seven in parallel
    assigned = {e["data"]["task_id"]: e["data"] for e in _events(api, run_id, "task_assigned")}
    assert len(assigned[ids["join"]]["inputs"]) == 7
    shown = stack.syntor("runs", "show", run_id, "--timeline").stdout
    assert "12 of 12 steps, 100%" in shown
    assert "worker [wide3]" in shown


def test_a_failed_step_skips_its_dependents_and_the_others_continue(api: httpx2.Client, wait_for: Wait) -> None:
    run_id = _start(api, "broken plan")["run_id"]
    run = wait_for(lambda: _ended(api, run_id))
    statuses = {task["step"]: task["status"] for task in run["tasks"] if task.get("step")}
    assert statuses == {"a": "failed", "b": "skipped", "c": "skipped", "d": "done"}
    assert run["status"] == "done"
    [result] = _events(api, run_id, "tool_result")
    assert result["data"]["is_error"]
    for text in ("the script says no", "skipped: step a was not done", "[failing d]"):
        assert text in result["data"]["content"]


def test_two_delegations_run_in_parallel_and_return_their_results(api: httpx2.Client, wait_for: Wait) -> None:
    started = _start(api, "ask two")
    run = wait_for(lambda: _ended(api, started["run_id"]))
    results = {e["data"]["call_id"]: e["data"]["content"] for e in _events(api, started["run_id"], "tool_result")}
    assert results == {"c1_1": "[part one]", "c1_2": "[part two]"}
    agents = {task["task_id"]: task["agent"] for task in run["tasks"]}
    assert agents == {"t1": "coordination", "t1-c1_1": "git", "t1-c1_2": "documentation"}
    usage = api.get("/v1/usage", params={"run_id": started["run_id"], "group_by": "agent"}).json()["rows"]
    assert {row["key"]: row["calls"] for row in usage} == {"coordination": 2, "git": 1, "documentation": 1}
    assert run["llm_calls"] == 4
    messages = api.get(f"/v1/sessions/{started['session_id']}/messages").json()["messages"]
    assert [message["content"] for message in messages] == ["ask two", "All in all."]


def test_a_handoff_gives_the_answer_to_the_other_agent(api: httpx2.Client, wait_for: Wait) -> None:
    started = _start(api, "hand over")
    run = wait_for(lambda: _ended(api, started["run_id"]))
    assert run["final_message"] == "[take this]"
    [_, answer] = api.get(f"/v1/sessions/{started['session_id']}/messages").json()["messages"]
    assert (answer["agent"], answer["content"]) == ("git", "[take this]")
    [assigned] = [e for e in _events(api, started["run_id"], "task_assigned") if e["data"].get("handoff_from")]
    assert assigned["data"]["chain"] == ["coordination"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ask yourself", "refused (ancestry): coordination already works on this"),
        ("ask unknown", "no agent 'unknown'; known: "),
        ("same twice", "refused (duplicate)"),
        ("circle", "steps depend on each other in a circle"),
    ],
)
def test_what_a_guard_refuses_is_told_to_the_agent(api: httpx2.Client, wait_for: Wait, text: str, says: str) -> None:
    run_id = _start(api, text)["run_id"]
    assert wait_for(lambda: _ended(api, run_id))["status"] == "done"
    results = [e["data"]["content"] for e in _events(api, run_id, "tool_result")]
    assert any(says in result for result in results), results


@pytest.mark.parametrize("killed", ["agent-worker", "orchestrator"])
def test_fifty_steps_under_one_budget_never_use_more(
    stack: LocalStack, api: httpx2.Client, wait_for: Wait, killed: str
) -> None:
    limit = TOKENS_PER_STEP * FAN // 2
    run_id = _start(api, "fan out", budget={"max_tokens": limit})["run_id"]
    wait_for(lambda: len(_events(api, run_id, "llm_call_done")) > 5)
    stack.kill(killed)
    run = wait_for(lambda: _ended(api, run_id), 90)
    used = [e["data"]["usage"] for e in _events(api, run_id, "llm_call_done")]
    total = sum(each.get("input_tokens", 0) + each.get("output_tokens", 0) for each in used)
    assert total <= limit
    assert total >= limit - 12 * TOKENS_PER_STEP  # what the killed process had reserved counts as used
    assert run["usage"]["input_tokens"] + run["usage"]["output_tokens"] == total  # each call once, none above it
    statuses = Counter(task["status"] for task in run["tasks"] if task.get("step"))
    assert statuses["done"] + statuses["failed"] == FAN
    assert statuses["failed"] > 0
    failed = [task["message"] for task in run["tasks"] if task["status"] == "failed"]
    assert all("max_tokens" in message and str(limit) in message for message in failed), failed
    calls = Counter((e["subject"], e["data"]["call"]) for e in _events(api, run_id, "llm_call_done"))
    assert set(calls.values()) == {1}


@pytest.mark.parametrize(
    ("budget", "names"),
    [
        ({"max_calls": 1}, "max_calls"),
        ({"max_tokens": 1}, "max_tokens"),
        ({"max_wall_time_s": 0.2}, "max_wall_time_s"),
    ],
)
def test_a_limit_ends_a_run_with_its_name(
    api: httpx2.Client, wait_for: Wait, budget: dict[str, float], names: str
) -> None:
    run_id = _start(api, "diamond", budget=budget)["run_id"]
    run = wait_for(lambda: _ended(api, run_id))
    assert (run["status"], run["error_code"]) == ("failed", "limit_reached")
    assert names in run["error_message"]


def test_the_command_line_ends_with_the_code_of_a_limit(stack: LocalStack) -> None:
    done = stack.syntor("chat", "diamond", "--max-turns", "1")
    assert done.returncode == 6, done.stderr
    assert "max_calls" in done.stderr
    listed = stack.syntor("usage", "--by", "day")
    assert listed.returncode == 0
    assert "DAY" in listed.stdout


def test_a_session_is_forked_where_it_was(stack: LocalStack, api: httpx2.Client, wait_for: Wait) -> None:
    first = _start(api, "remember one")
    session = first["session_id"]
    position = wait_for(lambda: _ended(api, first["run_id"]))["position"]
    second = _start(api, "remember two", session_id=session)
    wait_for(lambda: _ended(api, second["run_id"]))
    forked = stack.syntor("sessions", "fork", session, "--at", str(position), "-o", "json")
    assert forked.returncode == 0, forked.stderr
    fork = json.loads(forked.stdout)
    assert fork["history"] == [first["run_id"]]
    third = _start(api, "and now", session_id=fork["session_id"])
    wait_for(lambda: _ended(api, third["run_id"]))
    messages = api.get(f"/v1/sessions/{fork['session_id']}/messages").json()["messages"]
    assert [message["content"] for message in messages] == [
        "remember one",
        "I will.",
        "and now",
        "The scripted answer.",
    ]
    [call] = _events(api, third["run_id"], "llm_call_started")
    assert call["data"]["message_count"] == 4  # the prompt, two earlier messages, and the new one
    assert len(api.get(f"/v1/sessions/{session}/messages").json()["messages"]) == 4
    assert api.post(f"/v1/sessions/{session}/fork", json={"at": 1}).status_code == 404
    beyond = api.post(f"/v1/sessions/{session}/fork", json={"at": 10**9})
    assert (beyond.status_code, beyond.json()["code"]) == (409, "beyond_log")
    assert position < beyond.json()["log_end"] < 10**9
    again = api.post(f"/v1/sessions/{fork['session_id']}/fork", json={"at": position}).json()
    assert again["history"] == [first["run_id"]]  # the fork as it was then: without its own run
    whole = api.post(f"/v1/sessions/{fork['session_id']}/fork").json()
    assert whole["history"] == [first["run_id"], third["run_id"]]
    with_key = [
        api.post(f"/v1/sessions/{session}/fork", json={"at": position}, headers={"Idempotency-Key": "f"})
        for _ in range(2)
    ]
    assert [each.status_code for each in with_key] == [201, 201]
    assert with_key[0].json() == with_key[1].json()
    assert with_key[1].headers["idempotency-replayed"] == "true"
    other = api.post(f"/v1/sessions/{session}/fork", headers={"Idempotency-Key": "f"})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    deeper = api.post(f"/v1/sessions/{whole['session_id']}/fork", json={"at": position}).json()
    assert deeper["history"] == [first["run_id"]]


def test_turns_are_taken_back_files_and_messages(
    stack: LocalStack, api: httpx2.Client, wait_for: Wait, tmp_path: Path
) -> None:
    (tmp_path / "keep").write_text("kept")
    pictures = [picture(tmp_path)]
    arguments: list[str] = []
    for text in ("note one", "note two"):
        done = stack.syntor("worker", text, "--allow", "bash", "-o", "json", *arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        arguments = ["--session", json.loads(done.stdout)["session_id"]]
        pictures.append(picture(tmp_path))
    session = arguments[1]

    def rewind(*options: str) -> Any:
        return stack.syntor("sessions", "rewind", session, *options)

    def said() -> list[str]:
        page = wait_for(lambda: api.get(f"/v1/sessions/{session}/messages").json())
        return [message["content"] for message in page["messages"] if message["role"] == "user"]

    shown = stack.syntor("sessions", "diff", session, "--turn", "1").stdout
    assert "+one" in shown
    assert "new folder: d/" in shown
    assert "mode 0644 -> 0700: keep" in shown
    assert "2 files" not in stack.syntor("sessions", "diff", session, "--agent", "git").stdout

    turns = json.loads(stack.syntor("sessions", "turns", session, "-o", "json").stdout)["turns"]
    assert [(one["number"], one["changed"], one["state"]) for one in turns] == [
        (1, "3 files +2 -0", ""),
        (2, "3 files +2 -1", ""),
    ]

    dry = rewind("--to", "1", "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert "remove     notes" in dry.stdout
    assert picture(tmp_path) == pictures[2]

    undone = rewind()
    assert undone.returncode == 0, undone.stderr
    assert picture(tmp_path) == pictures[1]
    assert said() == ["note one"]
    assert "taken back" in stack.syntor("sessions", "turns", session).stdout
    redone = rewind("--redo")
    assert redone.returncode == 0, redone.stderr
    assert picture(tmp_path) == pictures[2]
    assert said() == ["note one", "note two"]

    (tmp_path / "notes").write_text("a person's\n")
    refused = rewind("--to", "1")
    assert refused.returncode == 1
    assert "notes: someone else changed it since" in refused.stderr
    assert "+a person's" in refused.stdout
    assert said() == ["note one", "note two"]
    forced = rewind("--to", "1", "--force")
    assert forced.returncode == 0, forced.stderr
    assert picture(tmp_path) == pictures[0]
    assert said() == []
    fresh = _start(api, "and now", session_id=session)
    wait_for(lambda: _ended(api, fresh["run_id"]))
    [call] = _events(api, fresh["run_id"], "llm_call_started")
    assert call["data"]["message_count"] == 2  # the prompt and the new message
    fork = api.post(f"/v1/sessions/{session}/fork").json()
    assert fork["history"] == [fresh["run_id"]]
    other = api.post(f"/v1/sessions/{session}/rewind", json={"to_run": "unknown"})
    assert (other.status_code, other.json()["code"]) == (404, "not_found")


def test_a_restarted_ingress_knows_the_positions_there_are(
    stack: LocalStack, api: httpx2.Client, wait_for: Wait
) -> None:
    run = _start(api, "remember three")
    position = wait_for(lambda: _ended(api, run["run_id"]))["position"]
    stack.syntor("down")
    stack.up("--durability", "fast")
    again = httpx2.post(f"{stack.url}/v1/sessions/{run['session_id']}/fork", json={"at": position}, timeout=30)
    assert again.status_code == 201, again.text
    assert again.json()["history"] == [run["run_id"]]


def test_the_read_models_equal_a_rebuild_after_all_that(stack: LocalStack) -> None:
    verified = stack.syntor("replay", "--verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
