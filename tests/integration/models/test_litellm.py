"""LiteLLM's providers through our port, against a real HTTP server; skipped where LiteLLM is not installed."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from syntor.models.chat import ChatMessage, ChatRequest, Completed, ModelError, TextDelta, ToolSpec
from syntor.models.litellm import LiteLLMModel

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
