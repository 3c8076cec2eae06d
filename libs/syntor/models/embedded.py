"""The embedded model: a llama.cpp server in a process of the local stack, started when it is first needed.

The stack's control endpoint fetches weights and starts the server; completions come through the OpenAI-compatible
adapter like any other.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from urllib.parse import quote

import httpx2
import msgspec

from syntor.contracts.decoding import UNDECODABLE
from syntor.models.chat import Bound, ChatRequest, ModelError, Progress, StreamEvent, TextDelta, bound_of
from syntor.models.openai_compatible import OpenAICompatibleModel
from syntor.models.weights import WEIGHTS, is_installed
from syntor.runtime.sse import lines_async

CONTEXT_TOKENS = 8192  # of the one slot the server has
_START_SILENCE_S = 900.0  # between two status lines: a large part on a slow line


class StatusLine(msgspec.Struct, omit_defaults=True):
    """One line of the model server's status, and of the control endpoint's response."""

    state: str
    """downloading, loading, ready or failed."""
    message: str = ""
    done: int = 0
    total: int = 0
    url: str = ""
    """Base URL up to `/v1`, when ready."""
    api_key: str = ""


_decode = msgspec.json.Decoder(StatusLine).decode


class EmbeddedModel:
    """`ChatModel` over the stack's model server."""

    provider = "embedded"

    def __init__(self, name: str, *, auto_pull: bool = True) -> None:
        if name not in WEIGHTS:
            raise ModelError("model_not_installed", f"no embedded model {name!r}; there are: {', '.join(WEIGHTS)}")
        self._name = name
        self._auto_pull = auto_pull
        self._server: OpenAICompatibleModel | None = None

    async def close(self) -> None:
        """Close connections; the server keeps running under the stack."""
        if self._server is not None:
            await self._server.close()
            self._server = None

    async def context_tokens(self, model: str) -> int:
        """Return the context length the server is started with."""
        del model
        return CONTEXT_TOKENS

    async def bound(self, request: ChatRequest) -> Bound:
        """Return the most a call can use; a local model costs nothing."""
        return bound_of(request)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Stream the response; a server that died is started once more. See `ChatModel.stream`."""
        for attempt in (1, 2):
            streamed = False
            async for progress in self._ensure():
                yield progress
            assert self._server is not None
            try:
                async with aclosing(self._server.stream(request)) as events:
                    async for event in events:
                        streamed = streamed or isinstance(event, TextDelta)
                        yield event
                return
            except ModelError as exc:
                await self.close()
                if streamed or attempt == 2 or exc.code not in ("model_unavailable", "authentication_failed"):
                    raise

    async def _ensure(self) -> AsyncGenerator[Progress, None]:
        """Have the stack start the server unless it responds: it may have been stopped for another model."""
        if self._server is not None and await _is_up(self._server.base_url):
            return
        await self.close()
        stack, token = os.environ.get("SYNTOR_STACK_URL", ""), os.environ.get("SYNTOR_STACK_TOKEN", "")
        if not stack:
            raise ModelError(
                "configuration",
                "the embedded model needs the local stack (syntor up); elsewhere choose ollama, openai_compatible or a "
                "hosted provider: syntor config set inference.provider ollama",
            )
        if not self._auto_pull and not is_installed(_home(), self._name):
            text = f"{self._name} is not installed and inference.auto_pull is off: syntor models pull {self._name}"
            raise ModelError("model_not_installed", text)
        url = f"{stack}/model-server/{quote(self._name, safe='')}"
        headers, timeout = {"Authorization": f"Bearer {token}"}, httpx2.Timeout(_START_SILENCE_S, connect=5.0)
        try:
            async with (
                httpx2.AsyncClient(headers=headers, timeout=timeout, trust_env=False) as client,
                client.stream("POST", url) as response,
            ):
                if response.status_code != 200:
                    text = f"the stack refused to start {self._name}: HTTP {response.status_code}"
                    raise ModelError("model_unavailable", text)
                async for raw in lines_async(response.aiter_bytes()):
                    if raw.strip():
                        line = _decode(raw)
                        if line.state == "ready":
                            self._server = OpenAICompatibleModel(line.url, api_key=line.api_key, provider=self.provider)
                            yield Progress(f"{self._name}: reading the prompt")
                            return
                        yield self._progress(line)
        except (httpx2.TransportError, *UNDECODABLE) as exc:
            text = f"the stack did not start {self._name}: {exc or type(exc).__name__}"
            raise ModelError("model_unavailable", text, retryable=True) from exc
        raise ModelError(
            "model_unavailable", f"the stack ended its response before {self._name} was ready", retryable=True
        )

    def _progress(self, line: StatusLine) -> Progress:
        if line.state == "failed":
            raise ModelError("model_unavailable", f"{self._name}: {line.message or 'it did not start'}")
        fraction = line.done / line.total if line.total else None
        return Progress(f"{self._name}: {line.message or line.state}", fraction)


def _home() -> Path:
    return Path(os.environ.get("SYNTOR_HOME") or "~/.syntor").expanduser()


async def _is_up(base_url: str) -> bool:
    """Return whether the server responds."""
    try:
        async with httpx2.AsyncClient(timeout=2.0, trust_env=False) as client:
            return (await client.get(base_url.removesuffix("/v1") + "/health")).status_code == 200
    except httpx2.TransportError:
        return False
