"""An agent's process dies at every append: another one continues, and no finished model or tool call is made again."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from syntor.agentkit.context import TaskContext
from syntor.contracts.errors import NotReachableError
from syntor.contracts.run.v1 import UserInput
from syntor.contracts.task.v1 import AgentInvokeDone, AgentInvokeFailed, LlmCallStarted
from syntor.models.chat import ChatMessage
from syntor.testing.failing import FailingStore
from syntor.testing.tasks import assign, delivery, task_worker

SCRIPT = """
rules:
  - tool_result: lamp
    text: There is a lamp.
  - match: look
    text: I will look.
    tool_calls: [{name: fly, arguments: {}}, {name: list_directory, arguments: {path: .}}]
  - match: fail
    error: {code: model_unavailable, message: away, retryable: true, after_words: 1}
    text: half an answer
"""
APPENDS = 15  # more than a run with two tools makes


def _request(text: str, workspace: Path) -> UserInput:
    return UserInput(agent="worker", queue="worker", content=text, workspace=str(workspace))


async def _types(store: FailingStore) -> list[str]:
    return [recorded.envelope.type async for recorded in store.load("syntor.events.task.r1.>")]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    script = tmp_path / "script.yaml"
    script.write_text(SCRIPT)
    monkeypatch.setenv("SYNTOR_SCRIPT", str(script))
    (tmp_path / "lamp.txt").write_text("a lamp")
    return tmp_path


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("dies_at", range(1, APPENDS))
async def test_a_task_continues_after_any_append_and_repeats_nothing_that_finished(
    home: Path, dies_at: int, stored: bool
) -> None:
    store = FailingStore()
    assignment = await assign(store, _request("look around", home))
    store.fail_at(dies_at, stored=stored)
    for attempt in range(1, 4):
        try:
            await task_worker(store, home).handle(delivery(assignment, attempt))
            break
        except NotReachableError:
            continue
    types = Counter(await _types(store))
    assert types["agent_invoke_done"] == 1
    assert types["llm_call_done"] == 2
    assert types["tool_result"] == types["tool_call_created"] == types["policy_decision"] == 2
    events = [recorded async for recorded in store.load("syntor.events.task.r1.>")]
    assert [recorded.envelope.version for recorded in events] == list(range(1, len(events) + 1))
    assert isinstance(events[-1].event, AgentInvokeDone)
    assert events[-1].event.final_message == "There is a lamp."
    await task_worker(store, home).handle(delivery(assignment, 5))
    assert len(await _types(store)) == len(events)


async def test_a_failed_model_call_ends_the_task_with_the_partial_answer(home: Path) -> None:
    store = FailingStore()
    assignment = await assign(store, _request("please fail", home))
    await task_worker(store, home).handle(delivery(assignment, 1))
    events = [recorded.event async for recorded in store.load("syntor.events.task.r1.>")]
    failed = events[-1]
    assert isinstance(failed, AgentInvokeFailed)
    assert (failed.code, failed.retryable, failed.partial_message) == ("model_unavailable", True, "half an answer")


async def test_an_unknown_tool_is_refused_and_the_model_is_told(home: Path) -> None:
    store = FailingStore()
    assignment = await assign(store, _request("look around", home))
    await task_worker(store, home).handle(delivery(assignment, 1))
    results = [r.event async for r in store.load("syntor.events.task.r1.>") if r.envelope.type == "tool_result"]
    contents = {getattr(result, "call_id", ""): getattr(result, "content", "") for result in results}
    assert "lamp.txt" in contents["c1_2"]
    assert "there is no tool 'fly'" in contents["c1_1"]


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("dies_at", range(1, 6))
async def test_a_call_that_is_not_repeatable_is_made_once_whatever_dies(home: Path, dies_at: int, stored: bool) -> None:
    async def invoke(context: TaskContext) -> str:
        return (await context.chat([ChatMessage(role="user", content="look")], repeatable=False)).text

    store = FailingStore()
    assignment = await assign(store, _request("look around", home))
    store.fail_at(dies_at, stored=stored)
    for attempt in range(1, 4):
        try:
            await task_worker(store, home, invoke=invoke).handle(delivery(assignment, attempt))
            break
        except NotReachableError:
            continue
    events = [recorded.event async for recorded in store.load("syntor.events.task.r1.>")]
    assert sum(isinstance(event, LlmCallStarted) for event in events) <= 1
    end = events[-1]
    assert isinstance(end, AgentInvokeDone) or (isinstance(end, AgentInvokeFailed) and end.code == "outcome_unknown")
