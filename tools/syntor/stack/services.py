"""The services of the local stack, as data. Order is the order of tables and of the default ports."""

from __future__ import annotations

import msgspec

NATS = "nats"
MODEL_SERVER = "model-server"
AGENT_PREFIX = "agent-"


class ServiceSpec(msgspec.Struct, frozen=True):
    """One Python service: `python -m <module>`."""

    name: str
    """Name in tables, log files and `syntor logs`."""
    module: str
    """Module with a `__main__`, or a module that is run itself."""

    @property
    def is_agent(self) -> bool:
        """Whether it runs agents: it gets provider keys and the supervisor's control endpoint."""
        return self.name.startswith(AGENT_PREFIX)


INGRESS = ServiceSpec("ingress", "syntor.ingress")
PROJECTOR = ServiceSpec("projector", "syntor.projector")
SERVICES: tuple[ServiceSpec, ...] = (
    INGRESS,
    ServiceSpec("orchestrator", "syntor.orchestrator"),
    ServiceSpec("registry", "syntor.registry"),
    PROJECTOR,
    ServiceSpec("agent-coordination", "syntor.agents.coordination"),
    ServiceSpec("agent-documentation", "syntor.agents.documentation"),
    ServiceSpec("agent-git", "syntor.agents.git"),
    ServiceSpec("agent-worker", "syntor.agents.worker"),
    ServiceSpec("agent-worker_code", "syntor.agents.worker_code"),
    ServiceSpec("agent-bridge", "syntor.agents.bridge"),
)
