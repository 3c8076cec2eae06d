"""Which model answers: references, and models in order when one fails."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from syntor.contracts.errors import ConfigurationError
from syntor.models.chat import (
    Bound,
    ChatMessage,
    ChatRequest,
    Completed,
    ModelError,
    Progress,
    StreamEvent,
    TextDelta,
)
from syntor.models.fallback import FallbackModel
from syntor.models.inference import ModelRef

REQUEST = ChatRequest(model="first", messages=[ChatMessage(role="user", content="x")], max_tokens=10)


@pytest.mark.parametrize(
    ("text", "default", "ref"),
    [
        ("ollama/mistral:7b", "embedded", ("ollama", "mistral:7b")),
        (" qwen2.5-coder:0.5b ", "embedded", ("embedded", "qwen2.5-coder:0.5b")),
        ("Qwen/Qwen2.5-Coder", "openai_compatible", ("openai_compatible", "Qwen/Qwen2.5-Coder")),
        ("openrouter/meta/llama", "embedded", ("openrouter", "meta/llama")),
    ],
)
def test_a_reference_is_read(text: str, default: str, ref: tuple[str, str]) -> None:
    assert ModelRef.parse(text, default) == ref


@pytest.mark.parametrize(
    ("text", "default", "says"),
    [
        ("unknown/x", "embedded", "unknown provider 'unknown'"),
        ("ollama/", "embedded", "expected provider/name"),
        ("", "embedded", "expected provider/name"),
        ("x", "unknown", "unknown provider 'unknown'"),
    ],
)
def test_a_wrong_reference_is_refused_with_what_is_expected(text: str, default: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        ModelRef.parse(text, default)


class Model:
    """A model that says some words and then ends, or fails."""

    provider = "test"

    def __init__(self, *words: str, code: str = "", price: float | None = 0.0) -> None:
        self._words, self._code, self._price = words, code, price
        self.requests: list[str] = []
        self.closed = False

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        self.requests.append(request.model)
        for word in self._words:
            yield TextDelta(word)
        if self._code:
            raise ModelError(self._code, "broken")
        yield Completed(text="".join(self._words), model=request.model)

    async def bound(self, request: ChatRequest) -> Bound:
        size = len(self._words)
        return Bound(input_tokens=size, output_tokens=size, input_price=self._price, output_price=self._price)

    async def close(self) -> None:
        self.closed = True


def _in_order(*models: Model) -> FallbackModel:
    return FallbackModel([(ModelRef("ollama", f"m{number}"), model) for number, model in enumerate(models, 1)])


async def test_the_next_answers_when_one_fails_and_says_so() -> None:
    models = Model(code="model_unavailable"), Model(code="rate_limited"), Model("hi")
    events = [event async for event in _in_order(*models).stream(REQUEST)]
    assert events[:2] == [
        Progress("ollama/m1 failed (model_unavailable); trying ollama/m2"),
        Progress("ollama/m2 failed (rate_limited); trying ollama/m3"),
    ]
    assert events[2:] == [TextDelta("hi"), Completed(text="hi", model="m3")]


@pytest.mark.parametrize(
    "first", [Model("half", code="model_unavailable"), Model(code="context_exceeded"), Model(code="content_filtered")]
)
async def test_what_another_model_cannot_mend_is_not_tried_again(first: Model) -> None:
    second = Model("hi")
    with pytest.raises(ModelError, match="broken"):
        _ = [event async for event in _in_order(first, second).stream(REQUEST)]
    assert second.requests == []


async def test_the_bound_is_that_of_the_dearest_and_unknown_when_one_is() -> None:
    model = _in_order(Model("a", price=1.0), Model("a", "b", price=3.0))
    bound = await model.bound(REQUEST)
    assert (bound.input_tokens, bound.output_tokens, bound.input_price) == (2, 10, 3.0)
    unknown = await _in_order(Model(price=1.0), Model(price=None)).bound(REQUEST)
    assert unknown.input_price is None
    await model.close()
