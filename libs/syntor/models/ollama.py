"""Ollama: chat through its OpenAI-compatible address; a missing model is pulled first."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import httpx2
import msgspec

from syntor.contracts.decoding import UNDECODABLE
from syntor.models.chat import Bound, ChatRequest, ModelError, Progress, StreamEvent, bound_of
from syntor.models.context_length import ContextLength, get, of_ollama, post
from syntor.models.openai_compatible import OpenAICompatibleModel
from syntor.runtime.proxies import trusts_environment
from syntor.runtime.sse import lines_async

_PULL_SILENCE_S = 300.0  # Ollama sends nothing while it verifies a layer


class _PullLine(msgspec.Struct):
    status: str = ""
    error: str = ""
    total: int = 0
    completed: int = 0


class OllamaModel:
    """`ChatModel` over one Ollama server."""

    provider = "ollama"

    def __init__(self, host: str, *, auto_pull: bool) -> None:
        self._host = host.rstrip("/")
        self._auto_pull = auto_pull
        self._length = ContextLength(self._read_length, self._host)
        hint = "start it with: ollama serve"
        self._chat = OpenAICompatibleModel(f"{self._host}/v1", provider=self.provider, hint=hint)

    async def close(self) -> None:
        """Close connections."""
        await self._chat.close()

    async def context_tokens(self, model: str) -> int:
        """Return the context length Ollama gives the model; 0: it does not tell."""
        return await self._length.of(model)

    async def _read_length(self, client: httpx2.AsyncClient, model: str) -> int:
        shown = await post(client, f"{self._host}/api/show", {"model": model})
        return of_ollama(shown, await get(client, f"{self._host}/api/ps"), model)

    async def bound(self, request: ChatRequest) -> Bound:
        """Return the most a call can use; a local model costs nothing."""
        return bound_of(request)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Stream the response; see `ChatModel.stream`."""
        try:
            async with aclosing(self._chat.stream(request)) as events:
                async for event in events:
                    yield event
            return
        except ModelError as exc:
            if exc.code != "model_not_installed":
                raise
            if not self._auto_pull:
                text = f"Ollama has no model {request.model!r}: syntor models pull ollama/{request.model}"
                raise ModelError("model_not_installed", text) from exc
        async for progress in self._pull(request.model):
            yield progress
        async with aclosing(self._chat.stream(request)) as events:
            async for event in events:
                yield event

    async def _pull(self, name: str) -> AsyncGenerator[Progress, None]:
        body, timeout = {"model": name, "stream": True}, httpx2.Timeout(_PULL_SILENCE_S, connect=5.0)
        try:
            async with (
                httpx2.AsyncClient(timeout=timeout, trust_env=trusts_environment(self._host)) as client,
                client.stream("POST", f"{self._host}/api/pull", json=body) as response,
            ):
                async for raw in lines_async(response.aiter_bytes()):
                    if not raw.strip():
                        continue
                    line = msgspec.json.decode(raw, type=_PullLine)
                    if line.error or response.status_code >= 400:
                        text = f"Ollama cannot pull {name!r}: {line.error or response.status_code}"
                        raise ModelError("model_not_installed", text)
                    fraction = line.completed / line.total if line.total else None
                    yield Progress(f"pulling {name}: {line.status}", fraction)
        except (httpx2.TransportError, *UNDECODABLE) as exc:
            raise ModelError("model_unavailable", f"pulling {name!r} from {self._host}: {exc}", retryable=True) from exc
