"""A conversation of 300,000 tokens continues with a model of 32,000: no turn fails, and a turn does not get dearer."""

from __future__ import annotations

from pathlib import Path

import pytest

from syntor.contracts.run.v1 import Attachment, UserInput
from syntor.contracts.task.v1 import AgentInvokeDone, HistoryCompacted, LlmCallDone, LlmCallStarted
from syntor.testing.memory import MemoryStore
from syntor.testing.tasks import MANIFEST, take_turn, task_worker

SCALE = 10  # a tenth of the length and of the window: the same course in a tenth of the time
WINDOW, LENGTH = 32_000 // SCALE, 300_000 // SCALE
WORDS_OF_A_TURN = 6000 // SCALE
SCRIPT = """
context_tokens: %d
rules:
  - {match: Write the summary now, text: "The secret word is xylophone. %s"}
  - {match: what was the word, tool_calls: [{name: search_history, arguments: {query: "tangerine"}}]}
  - {match: what was the word, tool_result: tangerine, text: It was tangerine.}
  - {text: "%s"}
"""


def _script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, summary: str) -> None:
    path = tmp_path / "script.yaml"
    path.write_text(SCRIPT % (WINDOW, summary, "word " * (WORDS_OF_A_TURN // 2)))
    monkeypatch.setenv("SYNTOR_SCRIPT", str(path))


def _request(text: str, tmp_path: Path, *, attachment: str = "", compact: bool = False) -> UserInput:
    attachments = [Attachment(name="a.txt", content=attachment)] if attachment else []
    return UserInput(
        agent="worker", queue="worker", content=text, workspace=str(tmp_path), attachments=attachments, compact=compact
    )


@pytest.mark.parametrize("summary", ["All went well.", "", "huge " * 5000])
async def test_a_long_conversation_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, summary: str) -> None:
    _script(tmp_path, monkeypatch, summary)
    store, runs = MemoryStore(), list[str]()
    worker = task_worker(store, tmp_path, manifest=MANIFEST)
    used: list[int] = []
    spoken = 0
    while spoken < LENGTH:
        text = f"turn {len(runs)} {'tangerine ' if not runs else ''}" + "token " * (WORDS_OF_A_TURN // 2)
        spoken += WORDS_OF_A_TURN
        end = await take_turn(store, worker, _request(text, tmp_path), runs)
        assert isinstance(end, AgentInvokeDone), end
        used.append(end.usage.input_tokens + end.usage.output_tokens)
    assert len(runs) == LENGTH // WORDS_OF_A_TURN
    compactions = [e.event async for e in store.load("syntor.events.task.*.*.history_compacted")]
    assert compactions
    assert max(used) <= 3 * WINDOW
    half = len(used) // 2
    assert sum(used[half:]) <= 1.2 * sum(used[:half]) + WINDOW
    end = await take_turn(store, worker, _request("what was the word", tmp_path), runs)
    assert isinstance(end, AgentInvokeDone)
    assert end.final_message == "It was tangerine."


async def test_what_was_attached_and_read_is_there_in_later_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "script.yaml"
    path.write_text("rules:\n  - {match: look, tool_calls: [{name: list_directory, arguments: {path: .}}]}\n"
                    "  - {match: look, tool_result: ., text: seen}\n  - {text: fine}\n")  # fmt: skip
    monkeypatch.setenv("SYNTOR_SCRIPT", str(path))
    store, runs = MemoryStore(), list[str]()
    worker = task_worker(store, tmp_path)
    await take_turn(store, worker, _request("hello", tmp_path, attachment="the plan " * 2000), runs)
    await take_turn(store, worker, _request("look", tmp_path), runs)
    for _ in range(6):
        await take_turn(store, worker, _request("continue", tmp_path), runs)
    started = [e.event async for e in store.load("syntor.events.task.r8.t1.llm_call_started")]
    done = [e.event async for e in store.load("syntor.events.task.r8.t1.llm_call_done")]
    assert isinstance(started[0], LlmCallStarted)
    assert isinstance(done[0], LlmCallDone)
    assert started[0].message_count == 1 + 2 + 4 + 2 * 5 + 1
    assert done[0].usage.input_tokens > 4000  # the attachment is in it


async def test_a_person_can_have_the_conversation_summarised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _script(tmp_path, monkeypatch, "All went well.")
    store, runs = MemoryStore(), list[str]()
    worker = task_worker(store, tmp_path)
    end = await take_turn(store, worker, _request("/compact", tmp_path, compact=True), runs)
    assert isinstance(end, AgentInvokeDone)
    assert end.final_message == "Nothing to summarise."
    for _ in range(3):
        await take_turn(store, worker, _request("token " * 50, tmp_path), runs)
    end = await take_turn(store, worker, _request("/compact", tmp_path, compact=True), runs)
    assert isinstance(end, AgentInvokeDone)
    assert end.final_message.startswith("Summarised 2 turns")
    [event] = [e.event async for e in store.load(f"syntor.events.task.{runs[-1]}.t1.history_compacted")]
    assert isinstance(event, HistoryCompacted)
    assert not event.automatic
    assert not [e async for e in store.load(f"syntor.events.output.{runs[-1]}.>")
                if e.envelope.type == "agent_stream_delta"]  # fmt: skip
    await take_turn(store, worker, _request("continue", tmp_path), runs)
    [started] = [e.event async for e in store.load(f"syntor.events.task.{runs[-1]}.t1.llm_call_started")]
    assert isinstance(started, LlmCallStarted)
    assert started.message_count == 1 + 2 + 2 + 1  # system, summary, the newest turn, the question


async def test_what_a_prompt_held_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _script(tmp_path, monkeypatch, "All went well.")
    (tmp_path / "AGENTS.md").write_text("Be brief.")
    store, runs = MemoryStore(), list[str]()
    worker = task_worker(store, tmp_path)
    for _ in range(6):
        await take_turn(store, worker, _request("token " * 100, tmp_path), runs)
    started = [e.event async for e in store.load(f"syntor.events.task.{runs[-1]}.t1.llm_call_started")]
    newest = started[-1]
    assert isinstance(newest, LlmCallStarted)
    names = [part.name for part in newest.context]
    assert names[0] == "agent"
    assert str(tmp_path / "AGENTS.md") in names
    assert {"environment", "tools", "summary of earlier turns", "earlier turns", "this turn"} <= {*names}
    assert newest.window_tokens == WINDOW
    assert 0 < sum(part.tokens for part in newest.context) <= WINDOW
