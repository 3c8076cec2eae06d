"""The environment each service of the local stack starts with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from syntor.stack.layout import Layout
from syntor.stack.options import Options
from syntor.stack.port import LOOPBACK
from syntor.stack.services import INGRESS, PROJECTOR, ServiceSpec

_DEFAULTS = {
    "SYNTOR_ENVIRONMENT": "development",
    "SYNTOR_LOG_LEVEL": "info",
    "MALLOC_ARENA_MAX": "2",  # glibc otherwise allocates an arena per thread, most of it unused
}
_AGENT_DEFAULTS = {"SYNTOR_AGENT_TIMEOUT_S": "300", "SYNTOR_MAX_CONCURRENT_TASKS": "10"}
_NOT_INHERITED = (
    *("SYNTOR_URL", "SYNTOR_STACK_URL", "SYNTOR_STACK_TOKEN", "SYNTOR_HEALTH_PORT", "SYNTOR_INSTANCE"),
    "SYNTOR_TOKEN",  # the user's own, for commands
)


class Addresses(msgspec.Struct):
    """Addresses of one stack."""

    nats_url: str
    http_port: int
    control_url: str
    token: str


def environment(
    spec: ServiceSpec,
    options: Options,
    addresses: Addresses,
    health_port: int,
    inherited: Mapping[str, str],
) -> dict[str, str]:
    """Return the whole environment of a service; only agents get provider keys."""
    layout = Layout(Path(options.home))
    result = _DEFAULTS | {name: text for name, text in inherited.items() if name not in _NOT_INHERITED}
    if not spec.is_agent:
        result = {name: text for name, text in result.items() if not is_provider_key(name)}
    result |= options.overrides
    result |= {
        "SYNTOR_HOME": options.home,
        "SYNTOR_NATS_URL": addresses.nats_url,
        "SYNTOR_DURABILITY": options.durability,
        "SYNTOR_LOG_FOLDER": "" if options.nats_url else str(layout.nats_store),
        "SYNTOR_HEALTH_HOST": LOOPBACK,
        "SYNTOR_HEALTH_PORT": str(health_port),
    }
    if spec == INGRESS:
        result |= {"SYNTOR_HTTP_HOST": options.http_host, "SYNTOR_HTTP_PORT": str(addresses.http_port)}
    if spec == PROJECTOR:
        result["SYNTOR_DATABASE_URL"] = options.database_url or f"sqlite:///{layout.database}"
    if spec.is_agent:
        result = _AGENT_DEFAULTS | result
    if spec.calls_supervisor:
        result |= {"SYNTOR_STACK_URL": addresses.control_url, "SYNTOR_STACK_TOKEN": addresses.token}
    return result


def is_provider_key(name: str) -> bool:
    """Return whether an environment variable is a model provider's key, which only agents need."""
    return name.endswith(("_API_KEY", "_API_TOKEN")) and not name.startswith("SYNTOR_")
