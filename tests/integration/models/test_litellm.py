"""LiteLLM's providers through our port, against a real HTTP server; skipped where LiteLLM is not installed."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from syntor.models.chat import ChatMessage, ChatRequest, Completed, ModelError, TextDelta, ToolSpec
from syntor.models.litellm import LiteLLMModel, with_cache_marks
from syntor.testing.provider import provider, stream

pytest.importorskip("litellm", reason="LiteLLM is not installed: pip install 'syntor[litellm]'")
pytestmark = pytest.mark.filterwarnings("ignore")  # LiteLLM and what it loads warn of their own deprecations

TOOL = ToolSpec(name="glob", description="d", parameters={"type": "object", "properties": {"p": {"type": "string"}}})
REQUEST = ChatRequest(model="gpt-5-mini", messages=[ChatMessage(role="user", content="x")], tools=[TOOL])


def _chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    body = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "gpt-5-mini", "choices": [choice]}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "glob", "arguments": '{"p":"*"}'}}
    body = _chunk({"role": "assistant", "content": "hel"}) + _chunk({"content": "lo"})
    body += _chunk({"tool_calls": [call]}) + _chunk({}, "tool_calls") + b"data: [DONE]\n\n"
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + body)
    await writer.drain()
    writer.close()


async def test_an_answer_streams_with_text_and_tool_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    for name, value in (("OPENAI_API_BASE", url), ("OPENAI_BASE_URL", url), ("OPENAI_API_KEY", "k")):
        monkeypatch.setenv(name, value)
    model = LiteLLMModel("openai")
    events = [event async for event in model.stream(REQUEST)]
    await model.close()
    server.close()
    assert events[:2] == [TextDelta("hel"), TextDelta("lo")]
    done = events[-1]
    assert isinstance(done, Completed)
    assert (done.text, done.finish_reason, done.tool_calls[0].arguments) == ("hello", "tool_calls", '{"p":"*"}')


async def test_a_missing_key_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    with pytest.raises(ModelError, match="ANTHROPIC_API_KEY") as caught:
        await anext(LiteLLMModel("anthropic").stream(REQUEST))
    assert caught.value.code == "authentication_failed"


def test_prefixes_that_stay_are_marked_for_the_cache() -> None:
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "rules"},
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": "", "tool_calls": []},
        {"role": "tool", "content": "found", "tool_call_id": "c"},
    ]
    mark = {"type": "ephemeral"}
    system, user, assistant, tool = with_cache_marks(messages)
    assert system["content"] == [{"type": "text", "text": "rules", "cache_control": mark}]
    assert (user, assistant) == (messages[1], messages[2])
    assert tool["content"][0]["cache_control"] == mark
    assert tool["tool_call_id"] == "c"
    assert with_cache_marks([]) == []
    assert with_cache_marks(messages[2:3]) == messages[2:3]


async def test_marks_and_cached_tokens_reach_anthropic_and_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = {"input_tokens": 3, "cache_read_input_tokens": 40, "cache_creation_input_tokens": 0, "output_tokens": 1}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant", "content": [],
                                              "model": "claude-sonnet-4-5", "usage": usage}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    ]  # fmt: skip
    chunks = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events]
    async with provider() as server:
        server.answers = [stream(*chunks, done=False)]
        monkeypatch.setenv("ANTHROPIC_API_BASE", server.url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
        model = LiteLLMModel("anthropic")
        system = ChatMessage(role="system", content="rules")
        request = ChatRequest(model="claude-sonnet-4-5", messages=[system, *REQUEST.messages])
        *_, done = [event async for event in model.stream(request)]
        await model.close()
        [received] = server.requests
    assert isinstance(done, Completed)
    assert (done.text, done.usage.cached_input_tokens, done.usage.input_tokens) == ("hi", 40, 43)
    assert received.body["system"][0]["cache_control"] == {"type": "ephemeral"}
    assert received.body["messages"][0]["content"][0]["cache_control"] == {"type": "ephemeral"}
