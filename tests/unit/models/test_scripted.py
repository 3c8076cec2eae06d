"""The scripted model does what its file says, the same each time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from syntor.models.chat import ChatMessage, ChatRequest, Completed, ModelError, StreamEvent, TextDelta
from syntor.models.scripted import ScriptedModel

SCRIPT = """
rules:
  - {match: once, times: 1, text: first}
  - {match: once, text: later}
  - {match: fail, text: one two three, chunk_words: 1, error: {code: rate_limited, message: slow, after_words: 2}}
  - match: list
    tool_calls: [{name: ls, arguments: {path: ., pattern: '{input}', depth: 2}}]
    usage: {input_tokens: 5, cost_microusd: 9}
  - {tool_result: "a\\\\.txt", text: "found {input}"}
"""


def _ask(text: str, *more: ChatMessage, max_tokens: int | None = None) -> ChatRequest:
    return ChatRequest(model="m", messages=[ChatMessage(role="user", content=text), *more], max_tokens=max_tokens)


async def _answer(model: ScriptedModel, request: ChatRequest) -> Completed:
    last = [event async for event in model.stream(request)][-1]
    assert isinstance(last, Completed)
    return last


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "script.yaml"
    path.write_text(SCRIPT)
    return path


async def test_without_a_file_it_says_what_it_was_told_word_by_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SYNTOR_SCRIPT", raising=False)
    events = [event async for event in ScriptedModel().stream(_ask("good old  day"))]
    assert events[:-1] == [TextDelta("good"), TextDelta(" old"), TextDelta("  day")]
    last = events[-1]
    assert isinstance(last, Completed)
    assert (last.text, last.usage.input_tokens, last.usage.output_tokens) == ("good old  day", 3, 3)


async def test_rules_are_tried_in_order_and_count(script: Path) -> None:
    model = ScriptedModel(script)
    assert [(await _answer(model, _ask("Once"))).text for _ in range(3)] == ["first", "later", "later"]
    script.write_text(SCRIPT + "  - {text: new}\n")
    os.utime(script, ns=(1, 1))
    assert (await _answer(model, _ask("once"))).text == "first"


async def test_a_tool_is_asked_for_and_its_result_answered(script: Path) -> None:
    model = ScriptedModel(script)
    completed = await _answer(model, _ask("list it"))
    assert (completed.finish_reason, completed.tool_calls[0].name, completed.tool_calls[0].arguments) == (
        "tool_calls",
        "ls",
        '{"path":".","pattern":"list it","depth":2}',
    )
    assert (completed.usage.input_tokens, completed.usage.cost_microusd) == (5, 9)
    result = ChatMessage(role="tool", content="a.txt b.txt", tool_call_id=completed.tool_calls[0].id)
    assert (await _answer(model, _ask("list it", result))).text == "found list it"


async def test_it_fails_as_told_after_some_words(script: Path) -> None:
    said: list[StreamEvent] = []

    async def listen() -> None:
        async for event in ScriptedModel(script).stream(_ask("fail")):
            said.append(event)

    with pytest.raises(ModelError, match="slow") as caught:
        await listen()
    assert (caught.value.code, said) == ("rate_limited", [TextDelta("one"), TextDelta(" two")])


async def test_an_answer_is_cut_at_its_limit_and_the_bound_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SYNTOR_SCRIPT", raising=False)
    model = ScriptedModel()
    request = _ask("a b c d", max_tokens=2)
    answer = await _answer(model, request)
    assert (answer.text, answer.finish_reason, answer.usage.output_tokens) == ("a b", "length", 2)
    bound = await model.bound(_ask("a b c d"))
    assert (bound.input_tokens, bound.output_tokens) == (4, 4)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rules: [{match: '('}]", "script.yaml, line 1: rules[0].match: pattern '('"),
        ("rules: [{txt: a}]", "rules[0].txt: unknown key; did you mean rules[0].text?"),
        ("rules: 5", "script.yaml, line 1: rules: expected a list, found 5"),
        ("rules: [", "script.yaml"),
        ("", "script.yaml"),
    ],
)
async def test_a_wrong_file_is_named_with_the_place(script: Path, text: str, says: str) -> None:
    script.write_text(text)
    with pytest.raises(ModelError) as caught:
        await _answer(ScriptedModel(script), _ask("x"))
    assert caught.value.code == "configuration"
    assert says in str(caught.value)


async def test_no_file_and_no_rule_are_said(tmp_path: Path, script: Path) -> None:
    with pytest.raises(ModelError, match="SYNTOR_SCRIPT"):
        await _answer(ScriptedModel(tmp_path / "none.yaml"), _ask("x"))
    with pytest.raises(ModelError, match=r"no rule of .* matches 'what'"):
        await _answer(ScriptedModel(script), _ask("what"))
