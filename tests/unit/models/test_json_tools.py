"""Tools as JSON: what the model is told, what its answer means, and the text while it comes."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syntor.contracts.task.v1 import ToolCall
from syntor.contracts.vocabulary import FinishReason
from syntor.models.chat import (
    Bound,
    ChatMessage,
    ChatRequest,
    Completed,
    ModelError,
    Progress,
    StreamEvent,
    TextDelta,
    ToolSpec,
    bound_of,
)
from syntor.models.json_tools import AnswerReader, JsonToolsModel, constrained, schema_of

GREP = ToolSpec(
    name="grep",
    description="Find lines.",
    parameters={
        "type": "object",
        "properties": {"pattern": {"type": "string"}, "path": {"type": "string"}},
        "required": ["pattern"],
    },
)
ASKED = ChatRequest(
    model="m",
    messages=[ChatMessage(role="system", content="Be brief."), ChatMessage(role="user", content="where is x?")],
    tools=[GREP],
)


class Model:
    """A model that says one text, letter by letter, and keeps its requests."""

    provider = "test"

    def __init__(self, text: str, finish_reason: FinishReason = "stop") -> None:
        self._text = text
        self._finish_reason: FinishReason = finish_reason
        self.requests: list[ChatRequest] = []

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        self.requests.append(request)
        yield Progress("loading")
        for letter in self._text:
            yield TextDelta(letter)
        yield Completed(text=self._text, finish_reason=self._finish_reason, model="m")

    async def bound(self, request: ChatRequest) -> Bound:
        return bound_of(request)

    async def close(self) -> None:
        pass


async def _said(
    text: str, request: ChatRequest = ASKED, finish_reason: FinishReason = "stop"
) -> tuple[list[StreamEvent], Completed]:
    events = [event async for event in JsonToolsModel(Model(text, finish_reason)).stream(request)]
    last = events.pop()
    assert isinstance(last, Completed)
    return events, last


async def test_a_call_is_read_and_nothing_of_it_is_shown() -> None:
    events, last = await _said('{"tool": "grep", "arguments": {"pattern": "x"}}')
    assert events == [Progress("loading")]
    assert last.tool_calls == [ToolCall(id="call_1", name="grep", arguments='{"pattern":"x"}')]
    assert (last.text, last.finish_reason) == ("", "tool_calls")


async def test_an_answer_is_shown_while_it_comes() -> None:
    events, last = await _said('{"answer": "In \\"a.py\\",\\nline 3 \\u00e4 \\ud83d\\ude00"}')
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == 'In "a.py",\nline 3 ä 😀'
    assert len(events) > 10
    assert (last.text, last.tool_calls) == ('In "a.py",\nline 3 ä 😀', [])


@given(st.text(max_size=40), st.integers(1, 5), st.booleans())
def test_any_text_comes_out_as_it_went_in(text: str, size: int, ascii_only: bool) -> None:
    raw = json.dumps({"answer": text}, ensure_ascii=ascii_only)
    if any(0xD800 <= ord(sign) <= 0xDFFF for sign in text):
        return
    reader = AnswerReader()
    assert "".join(reader.feed(raw[at : at + size]) for at in range(0, len(raw), size)) == text


async def test_what_is_neither_is_worth_another_try_and_a_cut_answer_is_kept() -> None:
    with pytest.raises(ModelError, match="no readable call") as caught:
        await _said('{"tool": "grep", "argu')
    assert caught.value.retryable
    _, last = await _said('{"answer": "half a sen', finish_reason="length")
    assert last.text == "half a sen"


def test_the_model_is_told_of_the_tools_and_held_to_the_schema() -> None:
    request = constrained(ASKED)
    assert request.tools == []
    assert request.messages[0].content.startswith("Be brief.\n\nYou work with tools.")
    told = 'Find lines. {"tool": "grep", "arguments": {"pattern": ...}} (may have path)'
    assert told in request.messages[0].content
    assert request.json_schema == schema_of([GREP])
    jsonschema.Draft202012Validator.check_schema(schema_of([GREP]))
    for valid in ({"answer": "x"}, {"tool": "grep", "arguments": {"pattern": "x"}}):
        jsonschema.validate(valid, schema_of([GREP]))
    for bad in ({"tool": "rm", "arguments": {}}, {"tool": "grep", "arguments": {}}, {}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(bad, schema_of([GREP]))
    bare = constrained(ChatRequest(model="m", messages=[ASKED.messages[1]], tools=[GREP]))
    assert [message.role for message in bare.messages] == ["system", "user"]


async def test_calls_and_results_of_the_conversation_are_told_as_text() -> None:
    history = [
        *ASKED.messages,
        ChatMessage(
            role="assistant", content="", tool_calls=[ToolCall(id="c1", name="grep", arguments='{"pattern":"x"}')]
        ),
        ChatMessage(role="tool", content="a.py:3: x", tool_call_id="c1"),
    ]
    model = Model('{"answer": "plain text"}')
    request = ChatRequest(model="m", messages=history)  # no tool is offered any more: only an answer is left
    events = [event async for event in JsonToolsModel(model).stream(request)]
    assert isinstance(events[-1], Completed)
    assert events[-1].text == "plain text"
    [request] = model.requests
    assert request.json_schema == schema_of([])
    assert "Answer now" in request.messages[0].content
    assert request.messages[2].content == '{"tool": "grep", "arguments": {"pattern":"x"}}'
    assert request.messages[3].content.startswith("Result of grep:\na.py:3: x")
    assert (await JsonToolsModel(model).bound(ASKED)).input_tokens > bound_of(ASKED).input_tokens - 200


async def test_a_conversation_without_tools_is_left_alone() -> None:
    model = Model("{no JSON")
    request = ChatRequest(model="m", messages=ASKED.messages)
    events = [event async for event in JsonToolsModel(model).stream(request)]
    assert isinstance(events[-1], Completed)
    assert (events[-1].text, model.requests) == ("{no JSON", [request])


@pytest.mark.parametrize(
    ("escaped", "text"),
    [
        (r"\ud83d\ude00", "\U0001f600"),
        (r"\ud83d.", "\ufffd."),
        (r"\ud83d\n", "\ufffd\n"),
        (r"\ude00", "\ufffd"),
        (r"\ud83d\u0041", "\ufffdA"),
        (r"\uzzzz", "\ufffd"),
    ],
)
async def test_escapes_that_are_no_character_cost_no_text(escaped: str, text: str) -> None:
    written = f'{{"answer": "a{escaped}b"}}'
    events = [event async for event in JsonToolsModel(Model(written)).stream(ASKED)]
    said = "".join(event.text for event in events if isinstance(event, TextDelta))
    assert said == f"a{text}b"
    assert isinstance(events[-1], Completed)
    assert events[-1].text == said
