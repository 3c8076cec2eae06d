"""Calls an external agent: POST {endpoint}/invoke, which responds with server-sent events.

Each call carries `Idempotency-Key`, the same for every attempt at a task, and `X-Attempt`, counted from 1. Only an
agent that is registered as idempotent gets a second one.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator

import httpx2
import msgspec

from syntor.agentkit.execution.task_log import TaskLog
from syntor.agents.external_gateway.stream import AgentStream
from syntor.contracts.agent.v1 import AgentProfile
from syntor.contracts.errors import ConfigurationError, NotReachableError
from syntor.models.chat import Bound, ChatRequest, ModelError, StreamEvent, bound_of
from syntor.models.retries import refusal_code
from syntor.runtime.checked_http import checked_client
from syntor.runtime.outgoing import AddressRules, RefusedAddressError, stack_ports
from syntor.runtime.sse import parse_async

CONNECT_TIMEOUT_S = 5.0


class ExternalAgent:
    """`ChatModel` of an external agent, so that its answers are recorded and resumed like a model's completions."""

    provider = "http"

    def __init__(self, profile: AgentProfile, log: TaskLog) -> None:
        """Prepare the call for a task.

        Args:
            profile: the agent's registration.
            log: the task it is called for.
        """
        self._agent_id = profile.agent_id
        self._idempotent = profile.idempotent
        self._url = profile.endpoint.rstrip("/") + "/invoke"
        self._log = log

    async def close(self) -> None:
        """Do nothing: connections are closed with each call."""

    async def bound(self, request: ChatRequest) -> Bound:
        """Return the most a call can use; what an external agent costs is unknown."""
        return bound_of(request, None, None)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Invoke the agent; see `ChatModel.stream`."""
        timeout = httpx2.Timeout(request.timeout_s, connect=CONNECT_TIMEOUT_S)
        rules = AddressRules(closed_ports=stack_ports(os.environ))
        reply = AgentStream(self._agent_id, retryable=self._idempotent)
        try:
            async with (
                asyncio.timeout(request.timeout_s),
                checked_client(self._url, rules, timeout=timeout) as client,
                client.stream("POST", self._url, content=self._body(request), headers=self._headers()) as response,
            ):
                if response.status_code != 200:
                    status = response.status_code
                    code = refusal_code(status) if status >= 400 else "bad_response"
                    retryable = self._idempotent and status >= 500
                    raise ModelError(code, f"{self._url} returned HTTP {status}", retryable=retryable)
                async for sent in parse_async(response.aiter_bytes()):
                    for event in reply.feed(sent):
                        yield event
                    if reply.ended:
                        return
        except (TimeoutError, httpx2.ReadTimeout) as exc:
            text = f"external agent {self._agent_id} at {self._url} sent no end within {request.timeout_s:g} s"
            raise ModelError("timeout", text, retryable=self._idempotent) from exc
        except (RefusedAddressError, ConfigurationError) as exc:
            raise ModelError("configuration", f"external agent {self._agent_id}: {exc}") from exc
        except NotReachableError as exc:
            raise ModelError("model_unavailable", f"external agent {self._agent_id}: {exc}", retryable=True) from exc
        except ValueError as exc:
            raise ModelError("bad_response", f"{self._agent_id} sent {exc}") from exc
        except httpx2.TransportError as exc:
            reason = str(exc) or type(exc).__name__
            text = f"external agent {self._agent_id} at {self._url} is not reachable ({reason})"
            retryable = self._idempotent and not isinstance(exc, httpx2.ConnectError)
            raise ModelError("model_unavailable", text, retryable=retryable) from exc
        reply.finish()

    def _body(self, request: ChatRequest) -> bytes:
        *history, last = request.messages
        body = {
            "session_id": self._log.envelope.sessionid,
            "run_id": self._log.run_id,
            "agent_id": self._agent_id,
            "input_message": {"role": last.role, "content": last.content},
            "history": [{"role": message.role, "content": message.content} for message in history],
        }
        return msgspec.json.encode(body)

    def _headers(self) -> dict[str, str]:
        """Return the headers of the call that has just been recorded as started."""
        headers = {
            "Accept": "text/event-stream",
            "Content-Type": "application/json",
            "Idempotency-Key": f"{self._log.run_id}.{self._log.assigned.task_id}",
            "X-Attempt": str(self._log.state.open_call),
            "X-Session-ID": self._log.envelope.sessionid,
            "X-Run-ID": self._log.run_id,
            "traceparent": self._log.traceparent,
            "tracestate": self._log.tracestate,
        }
        return {name: text for name, text in headers.items() if text}
