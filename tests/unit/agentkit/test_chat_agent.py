"""How the chat agent's answers end: whole, cut, or not at all."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from syntor.agentkit.manifest import Constraints, Manifest
from syntor.contracts.events import Event
from syntor.contracts.run.v1 import UserInput
from syntor.contracts.task.v1 import AgentInvokeDone, AgentInvokeFailed, LlmCallStarted
from syntor.testing.memory import MemoryStore
from syntor.testing.tasks import MANIFEST, assign, delivery, task_worker

EMPTY_THEN_TEXT = """
rules:
  - {match: hello, times: 1}
  - {match: reply was empty, text: Hello.}
"""


async def _events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, text: str = "hello", manifest: Manifest = MANIFEST
) -> list[Event]:
    path = tmp_path / "script.yaml"
    path.write_text(script)
    monkeypatch.setenv("SYNTOR_SCRIPT", str(path))
    store = MemoryStore()
    request = UserInput(agent="worker", queue="worker", content=text, workspace=str(tmp_path))
    assignment = await assign(store, request)
    await task_worker(store, tmp_path, manifest=manifest).handle(delivery(assignment))
    return [recorded.event async for recorded in store.load("syntor.events.task.r1.>")]


@pytest.mark.parametrize(
    ("rule", "code", "says"),
    [
        ("text: ''", "empty_answer", "ended without an answer"),
        ("text: '  '", "empty_answer", "ended without an answer"),
        ("{text: '', finish_reason: length}", "output_limit_reached", "limit of output tokens"),
        ("{text: '', finish_reason: content_filter}", "content_filtered", "content filter"),
    ],
)
async def test_a_completion_without_text_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: str, code: str, says: str
) -> None:
    events = await _events(tmp_path, monkeypatch, f"rules:\n  - {rule}\n")
    failed = events[-1]
    assert isinstance(failed, AgentInvokeFailed)
    assert failed.code == code
    assert says in failed.message
    assert sum(isinstance(event, LlmCallStarted) for event in events) == 2


async def test_an_empty_answer_is_requested_once_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = (await _events(tmp_path, monkeypatch, EMPTY_THEN_TEXT))[-1]
    assert isinstance(done, AgentInvokeDone)
    assert (done.final_message, done.finish_reason) == ("Hello.", "stop")


@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_an_answer_that_is_cut_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    done = (await _events(tmp_path, monkeypatch, f"rules:\n  - {{text: half an, finish_reason: {reason}}}\n"))[-1]
    assert isinstance(done, AgentInvokeDone)
    assert (done.final_message, done.finish_reason) == ("half an", reason)


LOOP = """
rules:
  - {match: No more tools, text: I found lamp.txt.}
  - {tool_result: ., tool_calls: [{name: list_directory, arguments: {path: .}}]}
  - {tool_calls: [{name: list_directory, arguments: {path: .}}]}
"""


async def test_a_model_in_a_loop_is_nudged_and_then_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = await _events(tmp_path, monkeypatch, LOOP)
    done = events[-1]
    assert isinstance(done, AgentInvokeDone)
    assert done.final_message == "I found lamp.txt."
    started = [event for event in events if isinstance(event, LlmCallStarted)]
    assert [bool(event.tool_names) for event in started] == [True] * 5 + [False]


async def test_at_the_limit_of_rounds_the_model_answers_with_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = msgspec.structs.replace(MANIFEST, constraints=Constraints(max_tool_rounds=1))
    done = (await _events(tmp_path, monkeypatch, LOOP, manifest=manifest))[-1]
    assert isinstance(done, AgentInvokeDone)
    assert (done.final_message, done.tool_calls) == ("I found lamp.txt.", 1)


async def test_a_model_that_only_calls_tools_fails_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = (await _events(tmp_path, monkeypatch, LOOP.replace("text: I found lamp.txt.", "tool_calls: [{name: x}]")))[
        -1
    ]
    assert isinstance(failed, AgentInvokeFailed)
    assert failed.code == "tool_rounds_exceeded"
