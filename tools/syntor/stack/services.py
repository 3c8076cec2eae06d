"""The services of the local stack, as data. Order is the order of tables and of the default ports."""

from __future__ import annotations

import msgspec

NATS = "nats"
MODEL_SERVER = "model-server"
AGENT_PREFIX = "agent-"
USER_DEFINED = "agent-user-defined"


class ServiceSpec(msgspec.Struct, frozen=True):
    """One Python service: `python -m <module>`."""

    name: str
    """Name in tables, log files and `syntor logs`."""
    module: str
    """Package with a `__main__`, or a module that is run itself."""
    on_demand: bool = False
    """Started on request only, because a process costs 36 MB and most installations never need it."""

    @property
    def is_agent(self) -> bool:
        """Return whether it runs agents, which get provider keys."""
        return self.name.startswith(AGENT_PREFIX)

    @property
    def calls_supervisor(self) -> bool:
        """Return whether it gets the supervisor's control endpoint, to start on-demand services."""
        return self.is_agent or self.name == "registry"


INGRESS = ServiceSpec("ingress", "syntor.ingress")
REGISTRY = ServiceSpec("registry", "syntor.registry")
PROJECTOR = ServiceSpec("projector", "syntor.projector")
SERVICES: tuple[ServiceSpec, ...] = (
    INGRESS,
    ServiceSpec("orchestrator", "syntor.orchestrator"),
    REGISTRY,
    PROJECTOR,
    ServiceSpec("agent-coordination", "syntor.agents.coordination"),
    ServiceSpec("agent-documentation", "syntor.agents.documentation"),
    ServiceSpec("agent-git", "syntor.agents.git"),
    ServiceSpec("agent-worker", "syntor.agents.worker"),
    ServiceSpec("agent-worker_code", "syntor.agents.worker_code"),
    ServiceSpec("agent-external", "syntor.agents.external_gateway", on_demand=True),
    ServiceSpec(USER_DEFINED, "syntor.agents.user_defined", on_demand=True),
)
