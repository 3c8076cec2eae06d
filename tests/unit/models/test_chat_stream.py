"""Streams of every form servers are known to send: the text is kept, and calls are told apart."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syntor.models.chat_stream import ChatStream, ServerFaultError, valid_arguments


def _read(*chunks: Any) -> ChatStream:
    stream = ChatStream()
    for chunk in chunks:
        stream.feed(chunk if isinstance(chunk, str) else json.dumps(chunk))
    stream.end()
    return stream


def _delta(**delta: Any) -> dict[str, Any]:
    return {"choices": [{"delta": delta}]}


def _call(name: str | None = None, arguments: Any = None, **fields: Any) -> dict[str, Any]:
    return {"function": {"name": name, "arguments": arguments}, **fields}


HI = _delta(content="hi")


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"choices": None},
        {"choices": []},
        {"choices": [None]},
        {"choices": [{}]},
        {"choices": [{"delta": None}]},
        {"choices": [{"delta": []}]},
        {"choices": [{"delta": {"content": None, "tool_calls": None}}]},
        {"choices": [{"delta": {"content": 5, "tool_calls": {}}}]},
        {"choices": [{"delta": {"tool_calls": []}, "finish_reason": 7}]},
        {"choices": [], "usage": None},
        {"choices": [], "usage": 0.5},
        {"choices": [], "usage": {"prompt_tokens": None, "completion_tokens": 2.0, "prompt_tokens_details": None}},
        {"model": None, "id": 1, "error": None, "choices": [{"index": None, "delta": {"role": "assistant"}}]},
    ],
)
def test_fields_that_are_null_or_odd_cost_no_text(odd: Any) -> None:
    stream = _read(odd, HI, odd, {"choices": [{"delta": None, "finish_reason": "stop"}]}, odd)
    assert (stream.text, stream.finish, stream.tool_calls) == ("hi", "stop", [])


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab"),
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"text": "b"}], "b"),
        (["a", None, 5], "a"),
        ({"type": "output_text", "text": "a"}, "a"),
    ],
)
def test_content_may_come_as_parts(content: Any, text: str) -> None:
    assert _read(_delta(content=content)).text == text


@pytest.mark.parametrize(
    ("fragments", "calls"),
    [
        ([_call("ls", "{}"), _call("pwd", "{}")], [("ls", "{}", ""), ("pwd", "{}", "")]),
        ([_call("ls", "{}", id="a"), _call("ls", "{}", id="b")], [("ls", "{}", "a"), ("ls", "{}", "b")]),
        ([_call("ls", '{"a":', index=None), _call(None, "1}", index=None)], [("ls", '{"a":1}', "")]),
        ([_call("a", "{}", index=0, id="a"), _call("b", "{}", index=0, id="b")], [("a", "{}", "a"), ("b", "{}", "b")]),
        ([_call("ls", "{", index=0, id="a"), _call("ls", "}", index=0, id="a")], [("ls", "{}", "a")]),
        ([_call("ls", "{", index=0, id="a"), _call(None, "}", index=0, id="new")], [("ls", "{}", "a")]),
        (
            [_call("a", "{", index=0), _call("b", "{}", index=1), _call(None, "}", index=0)],
            [("a", "{}", ""), ("b", "{}", "")],
        ),
        ([_call("ls", {"a": 1}, index=0)], [("ls", '{"a": 1}', "")]),
        ([{"function": None, "id": None}], [("", "{}", "")]),
        ([_call("ls", None, id="a"), {"id": "a", "function": {"arguments": "{}"}}], [("ls", "{}", "a")]),
    ],
)
def test_calls_are_told_apart_by_index_id_or_name(fragments: Any, calls: Any) -> None:
    whole = _read(_delta(tool_calls=fragments))
    pieces = _read(*(_delta(tool_calls=[fragment]) for fragment in fragments))
    for stream in (whole, pieces):
        assert [(call.name, call.arguments, call.provider_id) for call in stream.tool_calls] == calls
        assert [call.id for call in stream.tool_calls] == [f"call_{n}" for n in range(1, len(calls) + 1)]


def test_halves_of_a_character_are_put_together() -> None:
    halves = ['{"choices":[{"delta":{"content":"a\\ud83d"}}]}', '{"choices":[{"delta":{"content":"\\ude00b"}}]}']
    stream = ChatStream()
    assert [stream.feed(half) for half in halves] == ["a", "\U0001f600b"]
    assert stream.text == "a\U0001f600b"
    assert _read(halves[0]).text == "a\ufffd"
    assert _read(halves[1]).text == "\ufffdb"


def test_reasoning_and_signatures_are_kept() -> None:
    signature = {"google": {"thought_signature": "s"}}
    stream = _read(
        _delta(reasoning_content="th", reasoning_details=[{"type": "a"}], logprobs=1),
        _delta(reasoning_content="ink", reasoning_details=[{"type": "b"}]),
        _delta(tool_calls=[_call("ls", "{}", index=0, extra_content=signature)]),
    )
    assert json.loads(stream.extra) == {
        "reasoning_content": "think",
        "reasoning_details": [{"type": "a"}, {"type": "b"}],
    }
    assert json.loads(stream.tool_calls[0].extra) == {"extra_content": signature}
    assert stream.text == ""


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("<html>", "no chat completion"),
        ("[]", "no chat completion"),
        ('{"choices": 5}', "no chat completion"),
        ('{"error": "busy"}', "busy"),
        ('{"error": {"message": {"a": 1}}}', "'a': 1"),
        ('{"error": {"code": 1}}', "'code': 1"),
    ],
)
def test_what_is_an_error_is_said(data: str, says: str) -> None:
    with pytest.raises(ServerFaultError, match=says):
        _read(data)


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("", "{}"),
        ('{"a": 1}', '{"a": 1}'),
        ("[1]", '{"malformed_arguments":"[1]"}'),
        ('{"a": ', '{"malformed_arguments":"{\\"a\\": "}'),
        ("null", '{"malformed_arguments":"null"}'),
    ],
)
def test_arguments_that_go_back_are_a_json_object(written: str, sent: str) -> None:
    assert valid_arguments(written) == sent


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["delta", "content", "tool_calls", "function", "index", "id", "name", "arguments", "usage",
                         "finish_reason", "text", "type", "reasoning", "message", "prompt_tokens"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.lists(JSON, max_size=3), JSON)
def test_no_chunk_raises_anything_else_or_loses_text(choices: list[Any], usage: Any) -> None:
    stream = ChatStream()
    stream.feed(json.dumps(HI))
    stream.feed(json.dumps({"choices": choices, "usage": usage}))
    stream.end()
    assert stream.text.startswith("hi")
    stream.text.encode()
    for call in stream.tool_calls:
        json.loads(valid_arguments(call.arguments))
