"""The adapter every provider but LiteLLM's is reached through: answers, faults of the server, faults of the wire."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import msgspec
import pytest

from syntor.contracts.task.v1 import ToolCall, Usage
from syntor.models import retries
from syntor.models.chat import (
    ChatMessage,
    ChatRequest,
    Completed,
    ModelError,
    Progress,
    StreamEvent,
    TextDelta,
    ToolSpec,
    addressed,
)
from syntor.models.openai_compatible import OpenAICompatibleModel, Prices
from syntor.testing.provider import Provider, provider, refusal, stream, text_chunk

REQUEST = ChatRequest(model="m", messages=[ChatMessage(role="user", content="hello")])
DEADLINE_S = 10.0
USAGE = {
    "choices": [],
    "usage": {"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 2}},
}


@pytest.fixture
async def server() -> AsyncIterator[Provider]:
    async with provider() as serving:
        yield serving


@pytest.fixture
async def model(server: Provider) -> AsyncIterator[OpenAICompatibleModel]:
    opened = OpenAICompatibleModel(
        f"{server.url}/v1/", api_key="key", hint="start it", prices=Prices(input_price=2.0, output_price=0.5)
    )
    yield opened
    await opened.close()


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait hardly at all between attempts."""
    monkeypatch.setattr(retries, "FIRST_WAIT_S", 0.001)


async def _answer(model: OpenAICompatibleModel, request: ChatRequest = REQUEST) -> tuple[list[StreamEvent], Completed]:
    events = [event async for event in model.stream(request)]
    last = events.pop()
    assert isinstance(last, Completed)
    return events, last


async def test_an_answer_comes_piece_by_piece_with_what_it_used(server: Provider, model: OpenAICompatibleModel) -> None:
    server.answers = [stream(": ping\n\n", text_chunk("Hel"), text_chunk("lo"), text_chunk("", "stop"), USAGE)]
    events, completed = await _answer(model)
    assert events == [TextDelta("Hel"), TextDelta("lo")]
    assert (completed.text, completed.finish_reason, completed.model) == ("Hello", "stop", "m-1")
    usage = completed.usage
    assert (usage.input_tokens, usage.output_tokens, usage.cached_input_tokens) == (7, 3, 2)
    assert usage.cost_microusd == 16  # 7 * 2.0 + 3 * 0.5, rounded up: never less than it is
    [request] = server.requests
    assert (request.path, request.headers["authorization"]) == ("/v1/chat/completions", "Bearer key")
    assert request.body == {
        "model": "m",
        "messages": [{"role": "user", "content": "hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_tool_calls_are_put_together_from_fragments(server: Provider, model: OpenAICompatibleModel) -> None:
    def fragment(index: int, **function: str) -> dict[str, Any]:
        call: dict[str, Any] = {"index": index, "function": function}
        if "name" in function and index == 0:
            call["id"] = "x"
        return {"choices": [{"delta": {"tool_calls": [call]}}]}

    server.answers = [
        stream(
            fragment(0, name="grep", arguments=""),
            fragment(0, arguments='{"pat'),
            fragment(1, name="ls", arguments="{}"),
            fragment(0, arguments='tern":"a"}'),
            text_chunk("", "tool_calls"),
        )
    ]
    spec = ToolSpec(name="grep", description="d", parameters={"type": "object"})
    history = [
        ChatMessage(role="assistant", content="", tool_calls=[ToolCall(id="c", name="ls", arguments="{}")]),
        ChatMessage(role="tool", content="a.txt", tool_call_id="c"),
    ]
    request = ChatRequest(
        model="m", messages=history, tools=[spec], max_tokens=9, temperature=0.0, json_schema={"type": "object"}
    )
    _, completed = await _answer(model, request)
    assert completed.tool_calls == [
        ToolCall(id="call_1", name="grep", arguments='{"pattern":"a"}', provider_id="x"),
        ToolCall(id="call_2", name="ls", arguments="{}"),
    ]
    body = server.requests[0].body
    assert body["tools"][0]["function"] == {"name": "grep", "description": "d", "parameters": {"type": "object"}}
    assert body["messages"][1] == {"role": "tool", "content": "a.txt", "tool_call_id": "c"}
    assert body["messages"][0]["tool_calls"][0]["function"] == {"name": "ls", "arguments": "{}"}
    assert (body["max_tokens"], body["temperature"]) == (9, 0.0)
    assert body["response_format"]["json_schema"]["schema"] == {"type": "object"}


@pytest.mark.parametrize(
    ("answer", "code", "says", "calls"),
    [
        (refusal(401, {"error": {"message": "no such key"}}), "authentication_failed", "no such key; check", 1),
        (refusal(403, {"message": "not yours"}), "authentication_failed", "not yours", 1),
        (refusal(404, {"error": "unknown model"}), "model_not_installed", "no model 'm': unknown model", 1),
        (refusal(429, {"error": {"message": "slow down"}}, retry_after="0.01"), "rate_limited", "slow down", 3),
        (refusal(429, {}, retry_after="Sat, 21 Nov 2020 00:00:00 GMT"), "rate_limited", "", 3),
        (refusal(429, {}, retry_after="nan"), "rate_limited", "", 3),
        (refusal(503, {}, retry_after="-5"), "model_unavailable", "", 3),
        (refusal(500, b"<html>oops</html>"), "model_unavailable", "oops", 3),
        (refusal(503, b""), "model_unavailable", "HTTP 503", 3),
        (refusal(400, {"error": {"message": "maximum context length is 8"}}), "context_exceeded", "new session", 1),
        (refusal(400, {"error": {"type": "exceed_context_size_error"}}), "context_exceeded", "new session", 1),
        (refusal(422, {"detail": "odd field"}), "bad_response", "odd field", 1),
        (refusal(302, b"", location="/elsewhere"), "bad_response", "HTTP 302", 1),
        (stream("data: {not json\n\n"), "bad_response", "no chat completion", 1),
        (stream('data: {"choices": 5}\n\n'), "bad_response", "no chat completion", 1),
        (stream({"error": {"message": "overloaded"}}), "model_unavailable", "overloaded", 3),
        (stream({"error": {"message": "too long", "code": 400}}), "bad_response", "too long", 1),
        (stream({"error": {"message": "no", "type": "invalid_request_error"}}), "bad_response", "no", 1),
        (stream({"error": {"message": "slow down", "code": "429"}}), "rate_limited", "slow down", 3),
        (stream({"error": {"message": "odd", "code": "server_error"}}), "model_unavailable", "odd", 3),
        (stream(done=False), "bad_response", "half way", 3),
        (stream(text_chunk("Hel"), done=False), "bad_response", "half way", 1),
    ],
)
async def test_each_fault_has_its_code_and_is_tried_again_where_that_can_help(
    server: Provider, model: OpenAICompatibleModel, answer: Any, code: str, says: str, calls: int
) -> None:
    server.answers = [answer]
    with pytest.raises(ModelError) as caught:
        await _answer(model)
    assert caught.value.code == code
    assert says in str(caught.value)
    assert len(server.requests) == calls
    assert caught.value.retryable == (calls > 1)


async def test_a_fault_that_passes_is_not_noticed(server: Provider, model: OpenAICompatibleModel) -> None:
    server.answers = [refusal(503, b"busy"), stream(text_chunk("fine", "stop"))]
    events, _ = await _answer(model)
    assert [event for event in events if not isinstance(event, Progress)] == [TextDelta("fine")]
    assert isinstance(events[0], Progress)
    assert events[0].message.startswith("openai_compatible: model_unavailable; attempt 2 of 3 in ")


async def test_nothing_is_repeated_once_something_was_said(server: Provider, model: OpenAICompatibleModel) -> None:
    server.answers = [stream(text_chunk("half"), {"error": {"message": "lost"}})]
    said: list[StreamEvent] = []

    async def listen() -> None:
        async for event in model.stream(REQUEST):
            said.append(event)

    with pytest.raises(ModelError, match="lost"):
        await listen()
    assert said == [TextDelta("half")]
    assert len(server.requests) == 1


async def test_tool_calls_without_end_are_cut_off(server: Provider, model: OpenAICompatibleModel) -> None:
    part = {"index": 0, "function": {"name": "x", "arguments": "a" * 4_000_000}}
    server.answers = [stream(*[{"choices": [{"delta": {"tool_calls": [part]}}]}] * 6)]
    with pytest.raises(ModelError, match="tool calls without end") as caught:
        await _answer(model)
    assert caught.value.code == "bad_response"


async def test_a_key_that_no_header_can_hold_is_no_fault_of_the_server(server: Provider) -> None:
    model = OpenAICompatibleModel(server.url, api_key="a key\nof two lines")
    with pytest.raises(ModelError) as caught:
        await _answer(model)
    assert caught.value.code == "configuration"
    await model.close()


async def test_a_server_that_is_not_there_is_named_with_what_to_do() -> None:
    model = OpenAICompatibleModel("http://127.0.0.1:9/v1", hint="start it with: serve")
    with pytest.raises(ModelError) as caught:
        await _answer(model)
    assert caught.value.code == "model_unavailable"
    assert "http://127.0.0.1:9/v1 is not reachable" in str(caught.value)
    assert str(caught.value).endswith("; start it with: serve")
    await model.close()


async def test_an_answer_that_takes_too_long_is_ended(server: Provider, model: OpenAICompatibleModel) -> None:
    async def hang(writer: asyncio.StreamWriter) -> None:
        await server.hung_up.wait()

    server.answers = [hang]
    request = ChatRequest(model="m", messages=REQUEST.messages, timeout_s=0.05)
    with pytest.raises(ModelError, match=r"no end within 0\.05 s") as caught:
        await _answer(model, request)
    assert caught.value.code == "timeout"
    server.hung_up.set()


async def test_who_stops_listening_ends_the_call_at_the_server(server: Provider, model: OpenAICompatibleModel) -> None:
    async def talk(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        while True:
            writer.write(b'data: {"choices":[{"delta":{"content":"on and on"}}]}\n\n')
            await writer.drain()

    server.answers = [talk]
    async with aclosing(model.stream(REQUEST)) as events:
        async for _ in events:
            break
    await asyncio.wait_for(server.hung_up.wait(), DEADLINE_S)


@pytest.mark.parametrize("requested", ["3600", "1000000000", "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"])
async def test_a_wait_of_more_than_a_minute_is_told_instead_of_waited(
    server: Provider, model: OpenAICompatibleModel, requested: str
) -> None:
    server.answers = [refusal(429, {"error": {"message": "slow down"}}, retry_after=requested)]
    with pytest.raises(ModelError, match=r"slow down; openai_compatible requests to wait \d+ s") as caught:
        await asyncio.wait_for(_answer(model), DEADLINE_S)
    assert caught.value.code == "rate_limited"
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("usage", "refused"),
    [
        ('{"prompt_tokens": 10000000000000000000}', "input_tokens is 10000000000000000000"),
        ('{"prompt_tokens": 7, "completion_tokens": -1}', "output_tokens is -1"),
        ('{"prompt_tokens": NaN}', "input_tokens is nan"),
        ('{"prompt_tokens": 1e308}', "input_tokens is"),
        ('{"prompt_tokens": 1.5}', "input_tokens is 1.5"),
        ('{"prompt_tokens": "7"}', "input_tokens is '7'"),
        ('{"prompt_tokens": true}', "input_tokens is True"),
        ('{"prompt_tokens": 1' + "0" * 400 + "}", "input_tokens is"),
        ("[]", "usage:"),
        ('{"prompt_tokens": null, "completion_tokens": 3.0, "prompt_tokens_details": 5}', ""),
    ],
)
async def test_usage_that_cannot_be_costs_no_text(
    server: Provider, model: OpenAICompatibleModel, usage: str, refused: str
) -> None:
    server.answers = [stream(text_chunk("hi", "stop"), f'data: {{"choices": [], "usage": {usage}}}\n\n')]
    events, completed = await _answer(model)
    assert events == [TextDelta("hi")]
    assert completed.text == "hi"
    if refused:
        assert refused in completed.usage_refused
        assert completed.usage == Usage()
    else:
        assert (completed.usage_refused, completed.usage.output_tokens) == ("", 3)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
async def test_separators_of_other_standards_are_part_of_a_text(
    server: Provider, model: OpenAICompatibleModel, end: str
) -> None:
    text = "a\u2028b\u2029c\x85d"
    chunks = [f"data: {json.dumps(text_chunk(text, 'stop'), ensure_ascii=False)}{end}{end}"]
    server.answers = [stream(*chunks)]
    events, completed = await _answer(model)
    assert events == [TextDelta(text)]
    assert completed.text == text


async def test_half_a_character_is_replaced_instead_of_failing(server: Provider, model: OpenAICompatibleModel) -> None:
    chunk = json.dumps(text_chunk("a", "stop")).replace('"a"', '"a\\ud83d"')
    server.answers = [stream(f"data: {chunk}\n\n")]
    _, completed = await _answer(model)
    assert completed.text == "a\ufffd"


async def test_what_is_no_completion_is_named_with_its_type(server: Provider, model: OpenAICompatibleModel) -> None:
    async def page(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<html>Log in</html>\n\n")
        await writer.drain()

    server.answers = [page]
    with pytest.raises(ModelError, match="sent text/html instead of a chat completion") as caught:
        await _answer(model)
    assert (caught.value.code, len(server.requests)) == ("bad_response", 1)


async def test_a_server_that_does_not_stream_is_understood(server: Provider, model: OpenAICompatibleModel) -> None:
    choice = {"message": {"role": "assistant", "content": "whole"}, "finish_reason": "stop"}
    server.answers = [refusal(200, {"choices": [choice], "usage": {"prompt_tokens": 2, "completion_tokens": 1}})]
    events, completed = await _answer(model)
    assert (events, completed.text, completed.usage.input_tokens) == ([TextDelta("whole")], "whole", 2)


async def test_what_a_provider_sent_goes_back_to_it_as_it_was(server: Provider, model: OpenAICompatibleModel) -> None:
    signature = {"google": {"thought_signature": "s=="}}
    call = {"index": 0, "id": "weird id", "function": {"name": "ls", "arguments": "{oops"}, "extra_content": signature}
    chunk: dict[str, Any] = {"choices": [{"delta": {"reasoning_content": "hm", "tool_calls": [call]}}]}
    server.answers = [stream(chunk, text_chunk("", "tool_calls")), stream(text_chunk("fine", "stop"))]
    _, completed = await _answer(model)
    [made] = completed.tool_calls
    made = msgspec.structs.replace(made, id="c1_1")
    history = [
        ChatMessage(role="assistant", content="", tool_calls=[made], extra=completed.extra, origin="p/m"),
        ChatMessage(role="tool", content="no", tool_call_id="c1_1"),
    ]
    await _answer(model, ChatRequest(model="m", messages=addressed(history, "p/m")))
    first, second = server.requests[1].body["messages"]
    assert first["reasoning_content"] == "hm"
    [sent] = first["tool_calls"]
    assert (sent["id"], sent["extra_content"], second["tool_call_id"]) == ("weird id", signature, "weird id")
    assert json.loads(sent["function"]["arguments"]) == {"malformed_arguments": "{oops"}
    await _answer(model, ChatRequest(model="m", messages=addressed(history, "other/m")))
    first, second = server.requests[2].body["messages"]
    assert "reasoning_content" not in first
    assert (first["tool_calls"][0]["id"], second["tool_call_id"]) == ("c1_1", "c1_1")
