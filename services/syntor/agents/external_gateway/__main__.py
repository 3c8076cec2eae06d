"""`python -m syntor.agents.external_gateway`: serves external agents over HTTP until stopped."""

from __future__ import annotations

import asyncio
import time

import msgspec

from syntor.agentkit.chat_agent import with_attachments
from syntor.agentkit.context import TaskContext
from syntor.agentkit.execution.task_log import TaskLog
from syntor.agentkit.manifest import Constraints, Manifest
from syntor.agentkit.model_resolver import ResolvedModel
from syntor.agentkit.worker.agent_service import AgentSettings
from syntor.agentkit.worker.entrypoint import serve
from syntor.agents.external_gateway.places import Places
from syntor.contracts.agent.v1 import AgentProfile
from syntor.contracts.errors import InfrastructureError, NotFoundError
from syntor.contracts.rpc.v1 import GET_AGENT, REGISTRY, AgentView, GetAgent
from syntor.contracts.topology import EXTERNAL_QUEUE
from syntor.jetstream.connection import Connection
from syntor.jetstream.requests import call
from syntor.models.chat import ChatMessage, ChatModel, ModelError
from syntor.models.inference import ModelRef
from syntor.runtime.process import Runtime, run_service
from syntor.runtime.settings import read_settings

HELD_TASKS = 1000  # tasks held, most of them waiting for a place of their agent; an agent's own places limit its calls
GATEWAY = Manifest(
    id=EXTERNAL_QUEUE,
    name="External-agent gateway",
    description="Calls external agents over HTTP",
    constraints=Constraints(max_concurrent=HELD_TASKS),
    prompt="-",
)
_CACHE_S = 5.0  # seconds until a changed registration takes effect


class Profiles:
    """Finds the registrations of external agents, each cached for a few seconds."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[str, tuple[AgentProfile, float]] = {}

    async def find(self, agent_id: str) -> AgentProfile:
        """Return an agent's registration, which has an endpoint.

        Raises:
            ModelError: it has none, or the registry is unavailable.
        """
        known = self._known.get(agent_id)
        if known is not None and time.monotonic() < known[1]:
            return known[0]
        try:
            view = await call(self._connection, REGISTRY, GET_AGENT, GetAgent(agent_id=agent_id), AgentView)
        except NotFoundError as exc:
            raise ModelError("unknown_agent", str(exc)) from exc
        except InfrastructureError as exc:
            raise ModelError("model_unavailable", f"registry: {exc}", retryable=True) from exc
        if not view.profile.endpoint:
            raise ModelError("configuration", f"agent {agent_id!r} has no endpoint to call")
        self._known[agent_id] = (view.profile, time.monotonic() + _CACHE_S)
        return view.profile


async def main(runtime: Runtime[AgentSettings]) -> None:
    """Serve the queue of all external agents."""
    profiles, places = Profiles(runtime.connection), Places()

    async def invoke(task: TaskContext) -> str:
        """Forward the input and the history, and return the answer."""
        profile = await profiles.find(task.assigned.agent)
        messages = [*task.history, ChatMessage(role="user", content=with_attachments(task))]
        async with places.hold(profile.agent_id, profile.max_concurrent):
            agent = await asyncio.to_thread(_external_agent, profile, task.log)
            model = ResolvedModel(ModelRef("http", profile.agent_id), agent)
            return (await task.chat(messages, model=model, repeatable=profile.idempotent)).text

    settings = msgspec.structs.replace(runtime.settings, max_concurrent_tasks=HELD_TASKS)
    await serve(msgspec.structs.replace(runtime, settings=settings), GATEWAY, invoke, registers=False)


def _external_agent(profile: AgentProfile, log: TaskLog) -> ChatModel:
    """Load an HTTP client, which is only needed once there is a task."""
    from syntor.agents.external_gateway.caller import ExternalAgent
    from syntor.models.guard import GUARDS, GuardedModel

    return GuardedModel(ExternalAgent(profile, log), GUARDS.of(f"agent {profile.agent_id}", profile.endpoint))


if __name__ == "__main__":
    run_service("agent-external", lambda: read_settings(AgentSettings), main)
