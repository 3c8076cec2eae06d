"""Chat completions of any OpenAI-compatible server: streaming, tools, usage.

Retries only before the first chunk of a response; closing the stream closes the HTTP response, which ends the call.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, cast

import httpx2
import msgspec

from syntor.contracts.bounds import MAX_COST_MICROUSD
from syntor.contracts.clock import now
from syntor.contracts.decoding import UNDECODABLE
from syntor.contracts.task.v1 import ToolCall, Usage
from syntor.models.chat import (
    Bound,
    ChatMessage,
    ChatRequest,
    Completed,
    ModelError,
    StreamEvent,
    TextDelta,
    bound_of,
    finish_reason,
)
from syntor.models.chat_stream import ChatStream, ServerFaultError, valid_arguments
from syntor.models.context_length import ContextLength, get, of_models, of_props
from syntor.models.inference import OpenAICompatible
from syntor.models.retries import attempts, refusal_code, retry_after
from syntor.runtime.proxies import trusts_environment
from syntor.runtime.sse import SseParser

CONNECT_TIMEOUT_S = 5.0
_MAX_UNSTREAMED_BYTES = 16 * 1024 * 1024
SILENCE_TIMEOUT_S = 120.0  # between two chunks; a local model sends nothing while it reads a long prompt


class Prices(msgspec.Struct, frozen=True):
    """Prices in millionths of a US dollar for a token, which is US dollars for a million; None: not known."""

    input_price: float | None = None
    output_price: float | None = None

    def cost(self, usage: Usage) -> int:
        """Return what a call cost; 0 where prices are not known."""
        cost = usage.input_tokens * (self.input_price or 0.0) + usage.output_tokens * (self.output_price or 0.0)
        return min(MAX_COST_MICROUSD, int(-(-cost // 1)))


class OpenAICompatibleModel:
    """`ChatModel` over one server."""

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str = "",
        provider: str = "openai_compatible",
        hint: str = "",
        prices: Prices = Prices(),  # noqa: B008 - frozen
    ) -> None:
        """Prepare; nothing is connected before the first call.

        Args:
            base_url: up to and including `/v1`.
            hint: what to do when the server is not reachable.
            prices: what a token costs.
        """
        self.provider = provider
        self.base_url = base_url.rstrip("/")
        self._hint = hint
        self._prices = prices
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        timeout = httpx2.Timeout(SILENCE_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        self._headers = headers
        self._length = ContextLength(self._read_length, base_url)
        self._client = httpx2.AsyncClient(headers=headers, timeout=timeout, trust_env=trusts_environment(base_url))

    async def close(self) -> None:
        """Close connections."""
        await self._client.aclose()

    async def context_tokens(self, model: str) -> int:
        """Return the context length the server tells; 0: it does not."""
        return await self._length.of(model)

    async def _read_length(self, client: httpx2.AsyncClient, model: str) -> int:
        listed = of_models(await get(client, f"{self.base_url}/models", self._headers), model)
        root = self.base_url.removesuffix("/v1")
        return of_props(await get(client, f"{root}/props", self._headers)) or listed

    async def bound(self, request: ChatRequest) -> Bound:
        """Return the most a call can use, at the prices that are configured."""
        return bound_of(request, self._prices.input_price, self._prices.output_price)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Stream the response; see `ChatModel.stream`."""
        body = msgspec.json.encode(request_body(request))
        try:
            async with (
                asyncio.timeout(request.timeout_s),
                aclosing(attempts(lambda: self._once(body, request), self.provider)) as events,
            ):
                async for event in events:
                    yield event
        except TimeoutError as exc:
            raise ModelError("timeout", f"{request.model}: no end within {request.timeout_s:g} s") from exc

    async def _once(self, body: bytes, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        url = f"{self.base_url}/chat/completions"
        try:
            async with self._client.stream(
                "POST", url, content=body, headers={"Content-Type": "application/json"}
            ) as response:
                if response.status_code != 200:
                    raise self._refused(response, await response.aread(), request)
                async for event in self._read(response, request):
                    yield event
        except httpx2.TimeoutException as exc:
            raise ModelError(
                "model_unavailable", f"{self.base_url} does not respond{self._fix()}", retryable=True
            ) from exc
        except (httpx2.LocalProtocolError, httpx2.UnsupportedProtocol) as exc:
            raise ModelError("configuration", f"{self.base_url} cannot be called: {exc}{self._fix()}") from exc
        except httpx2.TransportError as exc:
            reason = str(exc) or type(exc).__name__
            text = f"{self.base_url} is not reachable ({reason}){self._fix()}"
            raise ModelError("model_unavailable", text, retryable=True) from exc

    async def _read(self, response: httpx2.Response, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        stream, ended = ChatStream(), False
        try:
            async for data in _events(response):
                if data.strip() == "[DONE]":
                    ended = True
                    break
                if piece := stream.feed(data):
                    yield TextDelta(piece)
            if piece := stream.end():
                yield TextDelta(piece)
        except ServerFaultError as exc:
            raise ModelError(exc.code, f"{self.base_url}: {exc}", retryable=exc.retryable) from exc
        except ValueError as exc:
            raise ModelError("bad_response", f"{self.base_url} sent {exc}") from exc
        if not stream.finish and not (ended and (stream.text or stream.tool_calls)):
            raise self._half_way(kind, retryable=not stream.text)
        used = stream.used
        yield Completed(
            text=stream.text,
            tool_calls=stream.tool_calls,
            finish_reason=finish_reason(stream.finish),
            usage=msgspec.structs.replace(used.usage, cost_microusd=self._prices.cost(used.usage)),
            usage_refused=used.refused,
            model=stream.model or request.model,
            provider=self.provider,
            extra=stream.extra,
        )

    def _half_way(self, kind: str, *, retryable: bool) -> ModelError:
        if kind.startswith("text/") and kind != "text/event-stream":
            text = f"{self.base_url} sent {kind} instead of a chat completion: is it the address up to /v1?"
            return ModelError("bad_response", text)
        return ModelError("bad_response", f"{self.base_url} ended its response half way", retryable=retryable)

    def _refused(self, response: httpx2.Response, body: bytes, request: ChatRequest) -> ModelError:
        status = response.status_code
        message = _message(body) or f"HTTP {status}"
        where = f"{self.base_url}: {message}"
        match code := refusal_code(status):
            case "authentication_failed":
                return ModelError(code, f"{where}; check the API key")
            case "model_not_installed":
                return ModelError(code, f"{self.base_url} has no model {request.model!r}: {message}")
            case "rate_limited" | "model_unavailable":
                return ModelError(code, where, retryable=True, retry_after_s=_retry_after(response))
            case _ if status == 400 and ("context" in message.lower() or b"exceed_context_size" in body):
                return ModelError("context_exceeded", f"{where}; start a new session or use a model with more context")
            case _:
                return ModelError(code, f"{where} (HTTP {status})")

    def _fix(self) -> str:
        return f"; {self._hint}" if self._hint else ""


def configured(config: OpenAICompatible) -> OpenAICompatibleModel:
    """Return the model of the configured server.

    Raises:
        ModelError: no address is configured.
    """
    if not config.base_url:
        raise ModelError(
            "configuration",
            "inference.openai_compatible.base_url is not set: "
            "syntor config set inference.openai_compatible.base_url http://host:port/v1",
        )
    prices = Prices(_price(config.input_price), _price(config.output_price))
    return OpenAICompatibleModel(config.base_url, api_key=os.environ.get(config.api_key_env, ""), prices=prices)


def _price(text: str) -> float | None:
    return float(text) if text else None


def request_body(request: ChatRequest) -> dict[str, Any]:
    """Return the body of a chat completion request."""
    body: dict[str, Any] = {
        "model": request.model,
        "messages": [_message_body(message) for message in request.messages],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.tools:
        body["tools"] = [{"type": "function", "function": msgspec.to_builtins(tool)} for tool in request.tools]
    if request.max_tokens is not None:
        body["max_tokens"] = request.max_tokens
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.json_schema is not None:
        schema = {"name": "answer", "schema": request.json_schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def _message_body(message: ChatMessage) -> dict[str, Any]:
    body: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        body["tool_calls"] = [_call_body(call) for call in message.tool_calls]
    if message.tool_call_id:
        body["tool_call_id"] = message.tool_call_id
    return {**_fields(message.extra), **body}


def _call_body(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": valid_arguments(call.arguments)}
    return {**_fields(call.extra), "id": call.id, "type": "function", "function": function}


def _fields(extra: str) -> dict[str, Any]:
    """Return fields that go back to the provider as it sent them."""
    return msgspec.json.decode(extra, type=dict[str, Any]) if extra else {}


async def _events(response: httpx2.Response) -> AsyncGenerator[str, None]:
    """Yield the data of each event; a server that does not stream sends one completion as JSON, whatever its type.

    Raises:
        ValueError: an event is too long.
    """
    parser = SseParser()
    head: bytes | None = b""
    async for chunk in response.aiter_bytes():
        if head is not None:
            head = head + chunk if len(head) < _MAX_UNSTREAMED_BYTES else None
        for sent in parser.feed(chunk):
            head = None
            yield sent.data
    if head is not None and head.lstrip()[:1] == b"{":
        yield head.decode("utf-8", "replace")


def _message(body: bytes) -> str:
    """Return the message of an error body, whatever its form."""
    try:
        tree: Any = msgspec.json.decode(body)
    except UNDECODABLE:
        return body[:200].decode("utf-8", "replace").strip()
    for name in ("error", "message"):  # {"error": {"message": ...}}, {"error": ...} and {"message": ...} are all in use
        if isinstance(tree, dict):
            found = cast("dict[str, Any]", tree)
            tree = found.get(name, tree)
    return str(tree)


def _retry_after(response: httpx2.Response) -> float | None:
    return retry_after(response.headers.get("retry-after"), now())
