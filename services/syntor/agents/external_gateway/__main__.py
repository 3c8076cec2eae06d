"""`python -m syntor.agents.external_gateway`: serves external agents over HTTP until stopped."""

from __future__ import annotations

import time

from syntor.agentkit.chat_agent import with_attachments
from syntor.agentkit.context import TaskContext
from syntor.agentkit.manifest import Constraints, Manifest
from syntor.agentkit.model_resolver import ResolvedModel
from syntor.agentkit.worker.agent_service import AgentSettings
from syntor.agentkit.worker.entrypoint import serve
from syntor.contracts.errors import InfrastructureError, NotFoundError
from syntor.contracts.rpc.v1 import GET_AGENT, REGISTRY, AgentView, GetAgent
from syntor.contracts.topology import EXTERNAL_QUEUE
from syntor.jetstream.connection import Connection
from syntor.jetstream.requests import call
from syntor.models.chat import ChatMessage, ModelError
from syntor.models.inference import ModelRef
from syntor.runtime.process import Runtime, run_service
from syntor.runtime.settings import read_settings

GATEWAY = Manifest(
    id=EXTERNAL_QUEUE,
    name="External-agent gateway",
    description="Calls external agents over HTTP",
    constraints=Constraints(max_concurrent=100),
    prompt="-",
)
_CACHE_S = 5.0  # seconds until a changed endpoint takes effect


class Endpoints:
    """Finds the endpoints of external agents, each cached for a few seconds."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[str, tuple[str, float]] = {}

    async def find(self, agent_id: str) -> str:
        """Return an agent's endpoint.

        Raises:
            ModelError: it has none, or the registry is unavailable.
        """
        endpoint, until = self._known.get(agent_id, ("", 0.0))
        if time.monotonic() < until:
            return endpoint
        try:
            view = await call(self._connection, REGISTRY, GET_AGENT, GetAgent(agent_id=agent_id), AgentView)
        except NotFoundError as exc:
            raise ModelError("unknown_agent", str(exc)) from exc
        except InfrastructureError as exc:
            raise ModelError("model_unavailable", f"registry: {exc}", retryable=True) from exc
        if not view.profile.endpoint:
            raise ModelError("configuration", f"agent {agent_id!r} has no endpoint to call")
        self._known[agent_id] = (view.profile.endpoint, time.monotonic() + _CACHE_S)
        return view.profile.endpoint


async def main(runtime: Runtime[AgentSettings]) -> None:
    """Serve the queue of all external agents."""
    endpoints = Endpoints(runtime.connection)

    async def invoke(task: TaskContext) -> str:
        """Forward the input and the history, and return the answer."""
        from syntor.agents.external_gateway.caller import (
            ExternalAgent,  # loads an HTTP client; only needed once there is a task
        )

        agent_id, envelope = task.assigned.agent, task.log.envelope
        headers = {
            "X-Session-ID": envelope.sessionid,
            "X-Run-ID": envelope.runid,
            "traceparent": task.log.traceparent,
        }
        agent = ExternalAgent(
            agent_id,
            await endpoints.find(agent_id),
            {name: text for name, text in headers.items() if text},
            envelope.sessionid,
            envelope.runid,
        )
        messages = [*task.history, ChatMessage(role="user", content=with_attachments(task))]
        return (await task.chat(messages, model=ResolvedModel(ModelRef("http", agent_id), agent))).text

    await serve(runtime, GATEWAY, invoke, registers=False)


if __name__ == "__main__":
    run_service("agent-external", lambda: read_settings(AgentSettings), main)
