"""Tries models in order: the next one is called when one fails before it streamed any text."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from syntor.models.chat import (
    Bound,
    ChatModel,
    ChatRequest,
    ModelError,
    Progress,
    StreamEvent,
    TextDelta,
    addressed,
    context_tokens_of,
)
from syntor.models.inference import ModelRef

_FINAL = frozenset({"context_exceeded", "content_filtered"})  # another model would fail in the same way


class FallbackModel:
    """`ChatModel` over several; the request's own model name is that of the first."""

    def __init__(self, models: list[tuple[ModelRef, ChatModel]]) -> None:
        self._models = models
        self.provider = models[0][0].provider

    async def close(self) -> None:
        """Close all models."""
        for _, model in self._models:
            await model.close()

    async def context_tokens(self, model: str) -> int:
        """Return the shortest context length of all models, since any may serve; 0: none is known."""
        del model
        known = [await context_tokens_of(each, ref.name) for ref, each in self._models]
        return min((tokens for tokens in known if tokens), default=0)

    async def bound(self, request: ChatRequest) -> Bound:
        """Return the most a call can use, whichever model serves it."""
        bounds = [await model.bound(msgspec.structs.replace(request, model=ref.name)) for ref, model in self._models]
        known = [bound for bound in bounds if bound.input_price is not None and bound.output_price is not None]
        unknown = len(known) < len(bounds)
        return Bound(
            input_tokens=max(bound.input_tokens for bound in bounds),
            output_tokens=request.max_tokens,
            fixed_microusd=max(bound.fixed_microusd for bound in bounds),
            input_price=None if unknown else max(bound.input_price or 0.0 for bound in bounds),
            output_price=None if unknown else max(bound.output_price or 0.0 for bound in bounds),
        )

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Stream the response of the first model that gives one; see `ChatModel.stream`."""
        for number, (ref, model) in enumerate(self._models):
            streamed = False
            try:
                messages = addressed(request.messages, "") if number else request.messages
                sent = msgspec.structs.replace(request, model=ref.name, messages=messages)
                async with aclosing(model.stream(sent)) as events:
                    async for event in events:
                        streamed = streamed or isinstance(event, TextDelta)
                        yield event
                return
            except ModelError as exc:
                if streamed or exc.code in _FINAL or number == len(self._models) - 1:
                    raise
                yield Progress(f"{ref} failed ({exc.code}); trying {self._models[number + 1][0]}")
