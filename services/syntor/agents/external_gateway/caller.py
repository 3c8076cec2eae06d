"""Calls an external agent: POST {endpoint}/invoke, which responds with server-sent events."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import httpx2
import msgspec

from syntor.agents.external_gateway.stream import AgentStream
from syntor.models.chat import Bound, ChatRequest, ModelError, StreamEvent, bound_of

CONNECT_TIMEOUT_S = 5.0
SILENCE_TIMEOUT_S = 120.0


class ExternalAgent:
    """`ChatModel` of an external agent, so that its answers are recorded and resumed like a model's completions."""

    provider = "http"

    def __init__(self, agent_id: str, endpoint: str, headers: dict[str, str], session_id: str, run_id: str) -> None:
        self._agent_id = agent_id
        self._url = endpoint.rstrip("/") + "/invoke"
        self._headers = headers
        self._session_id, self._run_id = session_id, run_id

    async def close(self) -> None:
        """Do nothing: connections are closed with each call."""

    async def bound(self, request: ChatRequest) -> Bound:
        """Return the most a call can use; what an external agent costs is unknown."""
        return bound_of(request, None, None)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Invoke the agent; see `ChatModel.stream`."""
        *history, last = request.messages
        body = {
            "session_id": self._session_id,
            "run_id": self._run_id,
            "agent_id": self._agent_id,
            "input_message": {"role": last.role, "content": last.content},
            "history": [{"role": message.role, "content": message.content} for message in history],
        }
        headers = {"Accept": "text/event-stream", "Content-Type": "application/json", **self._headers}
        timeout = httpx2.Timeout(SILENCE_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        reply = AgentStream(self._agent_id)
        try:
            async with (
                httpx2.AsyncClient(timeout=timeout) as client,
                client.stream("POST", self._url, content=msgspec.json.encode(body), headers=headers) as response,
            ):
                if response.status_code != 200:
                    text = f"{self._url} returned HTTP {response.status_code}"
                    raise ModelError("model_unavailable", text, retryable=response.status_code >= 500)
                async for line in response.aiter_lines():
                    for event in reply.feed(line):
                        yield event
                    if reply.ended:
                        return
        except httpx2.TransportError as exc:
            reason = str(exc) or type(exc).__name__
            text = f"external agent {self._agent_id} at {self._url} is not reachable ({reason})"
            raise ModelError("model_unavailable", text, retryable=not isinstance(exc, httpx2.ConnectError)) from exc
        reply.finish()
