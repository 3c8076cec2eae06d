"""Every hosted provider LiteLLM knows. Its import costs seconds and 170 MB, so it happens on first use, in a thread."""

from __future__ import annotations

import asyncio
import importlib
import math
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from syntor.contracts.clock import now
from syntor.models.catalog import API_KEYS
from syntor.models.chat import (
    Bound,
    ChatRequest,
    Completed,
    ModelError,
    StreamEvent,
    TextDelta,
    bound_of,
    finish_reason,
)
from syntor.models.chat_stream import ChatStream, sent_back, usage_of
from syntor.models.context_length import length_of
from syntor.models.retries import attempts, refusal_code, retry_after
from syntor.models.wire import metered_cost
from syntor.runtime.telemetry import get_logger

_CODES: tuple[tuple[str, str, bool], ...] = (
    ("AuthenticationError", "authentication_failed", False),
    ("PermissionDeniedError", "authentication_failed", False),
    ("NotFoundError", "model_not_installed", False),
    ("ContextWindowExceededError", "context_exceeded", False),
    ("ContentPolicyViolationError", "content_filtered", False),
    ("RateLimitError", "rate_limited", True),
    ("Timeout", "timeout", True),
    ("APIConnectionError", "model_unavailable", True),
    ("InternalServerError", "model_unavailable", True),
    ("ServiceUnavailableError", "model_unavailable", True),
    ("BadRequestError", "bad_response", False),
)


_MARKED = frozenset({"anthropic"})  # others cache prefixes by themselves
_MARK = {"type": "ephemeral"}


def with_cache_marks(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return messages whose prefixes the provider is told to cache: the system prompt, and all messages.

    The next call of a turn begins with both.
    """
    marked = list(messages)
    last = len(messages) - 1
    places = {0, last} if messages and messages[0]["role"] == "system" else {last}
    for place in places:
        content = messages[place].get("content") if messages else None
        if isinstance(content, str) and content.strip():
            part = {"type": "text", "text": content, "cache_control": _MARK}
            marked[place] = {**messages[place], "content": [part]}
    return marked


def _load() -> Any:
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # it fetches a price list at import otherwise
    os.environ.setdefault("LITELLM_LOG", "ERROR")
    module: Any = importlib.import_module("litellm")
    module.suppress_debug_info = True
    module.modify_params = True  # some providers want tools named that only earlier messages use
    return module


class LiteLLMModel:
    """`ChatModel` of one hosted provider."""

    def __init__(self, provider: str) -> None:
        self.provider = provider
        self._module: Any = None

    async def close(self) -> None:
        """Close LiteLLM's clients."""
        close = getattr(self._module, "close_litellm_async_clients", None)
        if close is not None:
            await close()

    async def context_tokens(self, model: str) -> int:
        """Return the context length by LiteLLM's list; 0: the model is not in it."""
        module = await self._loaded()
        listed: dict[str, dict[str, Any]] = module.model_cost
        nothing: dict[str, Any] = {}
        known = listed.get(f"{self.provider}/{model}") or listed.get(model) or nothing
        return length_of(known, ("max_input_tokens", "max_tokens"))

    async def bound(self, request: ChatRequest) -> Bound:
        """Return the most a call can use, by LiteLLM's price list; a model it does not have has no known price."""
        module = await self._loaded()
        name = f"{self.provider}/{request.model}"
        listed: dict[str, dict[str, Any]] = module.model_cost
        nothing: dict[str, Any] = {}
        prices = listed.get(name) or listed.get(request.model) or nothing
        input_price: float | None = prices.get("input_cost_per_token")
        output_price: float | None = prices.get("output_cost_per_token")
        if input_price is None or output_price is None:
            return bound_of(request, None, None)
        return bound_of(request, input_price * 1e6, output_price * 1e6)

    async def _loaded(self) -> Any:
        if self._module is None:
            try:
                self._module = await asyncio.to_thread(_load)
            except ImportError as exc:
                text = f"provider {self.provider} needs LiteLLM: pip install 'syntor[litellm]' ({exc})"
                raise ModelError("configuration", text) from exc
        return self._module

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Stream the response; see `ChatModel.stream`."""
        variable = API_KEYS.get(self.provider)
        if variable and not os.environ.get(variable):
            text = f"{self.provider} needs its key in the environment variable {variable}; then restart: syntor down"
            raise ModelError("authentication_failed", text)
        await self._loaded()
        async with aclosing(attempts(lambda: self._once(request), self.provider)) as events:
            async for event in events:
                yield event

    async def _once(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        parts: list[Any] = []
        stream = ChatStream()
        try:
            chunks = await self._module.acompletion(**self._arguments(request))
            async for part in chunks:
                parts.append(part)
                if piece := stream.take(part.model_dump()):
                    yield TextDelta(piece)
            if piece := stream.end():
                yield TextDelta(piece)
        except Exception as exc:
            raise self._translated(exc, streamed=bool(stream.text)) from exc
        yield self._completed(request, parts, stream)

    def _arguments(self, request: ChatRequest) -> dict[str, Any]:
        from syntor.models.openai_compatible import request_body

        body = request_body(request)
        if self.provider in _MARKED:
            body["messages"] = with_cache_marks(body["messages"])
        return body | {
            "model": f"{self.provider}/{request.model}",
            "timeout": request.timeout_s,
            "drop_params": True,
            "num_retries": 0,
        }

    def _completed(self, request: ChatRequest, parts: list[Any], stream: ChatStream) -> Completed:
        """Return the end; what LiteLLM cannot put together is taken from the chunks."""
        used, extra = stream.used, stream.extra
        try:
            whole: Any = self._module.stream_chunk_builder(parts)
            message: dict[str, Any] = whole.choices[0].message.model_dump()
            counted = usage_of(whole.usage.model_dump())
        except Exception as exc:  # noqa: BLE001 - LiteLLM raises anything for chunks it did not expect
            get_logger().warning("completion_not_assembled", provider=self.provider, error=type(exc).__name__)
        else:
            extra = sent_back(message)  # it joins blocks of reasoning and their signatures as their provider needs
            cost = self._cost(whole, request)
            used = counted if counted.refused else metered_cost(counted, cost)
        return Completed(
            text=stream.text,
            tool_calls=stream.tool_calls,
            finish_reason=finish_reason(stream.finish or "stop"),
            usage=used.usage,
            usage_refused=used.refused,
            model=request.model,
            provider=self.provider,
            extra=extra,
        )

    def _cost(self, whole: Any, request: ChatRequest) -> int:
        """Return the price by LiteLLM's list; a model it has no price of costs 0."""
        try:
            cost: float = self._module.completion_cost(whole, model=f"{self.provider}/{request.model}")
        except Exception:  # noqa: BLE001 - LiteLLM raises a bare Exception for a model without a price
            return 0
        return round(cost * 1_000_000) if math.isfinite(cost) else 0

    def _translated(self, exc: Exception, *, streamed: bool) -> ModelError:
        for name, code, retryable in _CODES:
            kind = getattr(self._module, name, None)
            if kind is not None and isinstance(exc, kind):
                headers: Any = getattr(getattr(exc, "response", None), "headers", None) or {}
                wait_s = retry_after(headers.get("retry-after"), now())
                text = f"{self.provider}: {exc}"
                return ModelError(code, text, retryable=retryable and not streamed, retry_after_s=wait_s)
        status = getattr(exc, "status_code", None)
        code = refusal_code(status if isinstance(status, int) and status >= 400 else 500)
        retryable = code in ("model_unavailable", "rate_limited") and not streamed
        return ModelError(code, f"{self.provider}: {type(exc).__name__}: {exc}", retryable=retryable)
