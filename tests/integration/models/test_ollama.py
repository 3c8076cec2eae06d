"""A model Ollama lacks is pulled on the way, with progress, or named with what to do."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from syntor.models.chat import ChatMessage, ChatRequest, Completed, ModelError, Progress, TextDelta
from syntor.models.ollama import OllamaModel
from syntor.testing.provider import Provider, provider, refusal, stream, text_chunk

REQUEST = ChatRequest(model="mistral:7b", messages=[ChatMessage(role="user", content="hello")])
MISSING = refusal(404, {"error": {"message": "model 'mistral:7b' not found"}})
PULLED = b'{"status":"pulling"}\n\n{"status":"downloading","total":10,"completed":5}\n{"status":"success"}\n'


@pytest.fixture
async def server() -> AsyncIterator[Provider]:
    async with provider() as serving:
        yield serving


async def test_a_missing_model_is_pulled_and_answers(server: Provider) -> None:
    server.answers = [MISSING, refusal(200, PULLED), stream(text_chunk("hi", "stop"))]
    model = OllamaModel(server.url, auto_pull=True)
    events = [event async for event in model.stream(REQUEST)]
    assert events[:-1] == [
        Progress("pulling mistral:7b: pulling"),
        Progress("pulling mistral:7b: downloading", 0.5),
        Progress("pulling mistral:7b: success"),
        TextDelta("hi"),
    ]
    assert isinstance(events[-1], Completed)
    assert [request.path for request in server.requests] == [
        "/v1/chat/completions",
        "/api/pull",
        "/v1/chat/completions",
    ]
    assert server.requests[1].body == {"model": "mistral:7b", "stream": True}
    await model.close()


async def test_without_leave_to_pull_the_command_is_named(server: Provider) -> None:
    server.answers = [MISSING]
    model = OllamaModel(server.url, auto_pull=False)
    with pytest.raises(ModelError, match="syntor models pull ollama/mistral:7b") as caught:
        _ = [event async for event in model.stream(REQUEST)]
    assert caught.value.code == "model_not_installed"
    await model.close()


@pytest.mark.parametrize(
    ("answer", "code", "says"),
    [
        (refusal(200, b'{"error":"no such model"}\n'), "model_not_installed", "no such model"),
        (refusal(500, b'{"status":""}\n'), "model_not_installed", "500"),
        (refusal(200, b"<html>"), "model_unavailable", "pulling 'mistral:7b'"),
    ],
)
async def test_a_pull_that_fails_says_why(server: Provider, answer: object, code: str, says: str) -> None:
    server.answers = [MISSING, answer]  # type: ignore[list-item]
    model = OllamaModel(server.url, auto_pull=True)
    with pytest.raises(ModelError, match=says) as caught:
        _ = [event async for event in model.stream(REQUEST)]
    assert caught.value.code == code
    await model.close()
