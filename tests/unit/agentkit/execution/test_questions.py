"""Questions of tool calls: they suspend the task, and the call is made again with the response, in any process."""

from __future__ import annotations

from pathlib import Path

import pytest

from syntor.agentkit.domain.question import Question
from syntor.agentkit.manifest import Manifest
from syntor.agentkit.tools.tool import Tool, ToolRun
from syntor.contracts.envelope import Lineage
from syntor.contracts.events import Event
from syntor.contracts.ids import new_id
from syntor.contracts.request.v1 import QuestionAnswered
from syntor.contracts.run.v1 import Permissions, TaskAssigned, UserInput
from syntor.contracts.task.v1 import (
    AgentInvokeDone,
    AgentInvokePaused,
    QuestionAsked,
    ToolDispatched,
    ToolResult,
)
from syntor.eventsourcing.store import NewEvent
from syntor.testing.memory import MemoryStore
from syntor.testing.tasks import AT, assign, delivery, put, task_worker

MANIFEST = Manifest(id="worker", name="Worker", description="-", prompt="-", tools=["ask_user", "paint"])
REQUEST = UserInput(
    agent="worker", queue="worker", content="go", workspace="/tmp", permissions=Permissions(mode="auto")
)


def _script(folder: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    script = folder / "script.yaml"
    script.write_text(
        f"rules:\n  - match: go\n    times: 1\n    tool_calls: [{call}]\n  - tool_result: .\n    text: over\n"
    )
    monkeypatch.setenv("SYNTOR_SCRIPT", str(script))


async def _answer(store: MemoryStore, event: QuestionAnswered) -> None:
    lineage = Lineage(run_id="r1", session_id="s1", first_position=1)
    new = NewEvent(aggregate_id="r1", event=event, message_id=new_id(), source="t", time=AT, version=0, lineage=lineage)
    await store.append(new, 0)


async def _resume(store: MemoryStore, folder: Path, resume: int, tools: dict[str, Tool] | None = None) -> None:
    position = await put(
        store, "r1", TaskAssigned(task_id="t1", agent="worker", queue="worker", resume=resume), revision=None, version=9
    )
    assignment = await store.get(position)
    assert assignment is not None
    await _work(store, folder, tools).handle(delivery(assignment))


def _work(store: MemoryStore, folder: Path, tools: dict[str, Tool] | None = None):  # type: ignore[no-untyped-def]
    worker = task_worker(store, folder, manifest=MANIFEST)
    worker._contexts._tools = {**worker._contexts._tools, **(tools or {})}
    return worker


async def _events(store: MemoryStore) -> list[Event]:
    return [recorded.event async for recorded in store.load("syntor.events.task.r1.>")]


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (QuestionAnswered(question_id="t1-c1_1", action="answer", text="blue"), "blue"),
        (QuestionAnswered(question_id="t1-c1_1", action="decline", text="ask Ann"), "declined to respond. ask Ann"),
    ],
)
async def test_ask_user_waits_for_the_response(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: QuestionAnswered, result: str
) -> None:
    _script(tmp_path, monkeypatch, "{name: ask_user, arguments: {question: 'Which colour?', choices: [red, blue]}}")
    store = MemoryStore()
    assignment = await assign(store, REQUEST)
    await _work(store, tmp_path).handle(delivery(assignment))
    *_, asked, paused = await _events(store)
    assert isinstance(asked, QuestionAsked)
    assert (asked.question_id, asked.text, asked.choices) == ("t1-c1_1", "Which colour?", ["red", "blue"])
    assert isinstance(paused, AgentInvokePaused)
    assert [(wait.kind, wait.id) for wait in paused.waits] == [("tool", "t1-c1_1")]
    await _answer(store, answer)
    await _resume(store, tmp_path, 1)
    events = await _events(store)
    [given] = [event for event in events if isinstance(event, ToolResult)]
    assert result in given.content
    assert isinstance(events[-1], AgentInvokeDone)


def _painter(runs: list[str]) -> Tool:
    """Return a tool that asks twice the same and once something else, and may not be repeated by itself."""

    async def paint(run: ToolRun, arguments: dict[str, str]) -> str:
        runs.append("begin")
        first = await run.ask(Question(text="colour?"))
        again = await run.ask(Question(text="colour?"))
        form = {"type": "object", "properties": {"n": {"type": "integer"}}}
        coats = await run.ask(Question(text="coats?", form=form))
        return f"{first.text} {again.text} {coats.values['n']}"

    return Tool(
        name="paint",
        description="-",
        arguments=None,
        run=paint,
        paths=lambda arguments: [],
        effect="network",
        repeatable=False,
    )


async def test_a_tool_is_run_again_with_the_responses_and_asks_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _script(tmp_path, monkeypatch, "{name: paint, arguments: {}}")
    runs: list[str] = []
    tools = {"paint": _painter(runs)}
    store = MemoryStore()
    await _work(store, tmp_path, tools).handle(delivery(await assign(store, REQUEST)))
    for number, (question, text) in enumerate(
        [("t1-c1_1", "red"), ("t1-c1_1_q2", "blue"), ("t1-c1_1_q3", '{"n": 2}')], 1
    ):
        asked = [event for event in await _events(store) if isinstance(event, QuestionAsked)]
        assert asked[-1].question_id == question
        if number == 2:  # resumed although nothing arrived: the call is not made
            await _resume(store, tmp_path, 10, tools)
            assert len(runs) == number
        await _answer(store, QuestionAnswered(question_id=question, action="answer", text=text))
        await _resume(store, tmp_path, number * 10 + 5, tools)
    events = await _events(store)
    [result] = [event for event in events if isinstance(event, ToolResult)]
    assert (result.content, result.outcome) == ("red blue 2", "completed")
    assert len([event for event in events if isinstance(event, ToolDispatched)]) == len(runs) == 4
