"""Builds the options of a stack from configuration and environment; rejects an invalid configuration before a start."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from syntor.configuration import load_configuration
from syntor.contracts.errors import ConfigurationError
from syntor.stack.nats_config import SYNC_INTERVALS
from syntor.stack.options import Options
from syntor.stack.port import HTTP_PORT, LOOPBACK, NATS_PORT
from syntor.stack.services import SERVICES

DURABLE = "durable"
DEFAULT_AGENT = "coordination"


def prepare(
    home: Path,
    environ: Mapping[str, str],
    *,
    durability: str = "",
    provider: str = "",
    model: str = "",
    services: str = "",
    version: str = "",
) -> Options:
    """Return the options to start a stack with.

    Args:
        durability: durable or fast; empty: the value of `SYNTOR_DURABILITY`, else durable.
        provider, model: from flags; passed to the services as environment variables, which override the file.
        services: names separated by commas; empty: all.

    Raises:
        ConfigurationError: the configuration, a variable or an argument is invalid.
    """
    durability = durability or environ.get("SYNTOR_DURABILITY") or DURABLE
    if durability not in SYNC_INTERVALS:
        raise ConfigurationError(f"durability {durability!r}: expected {' or '.join(SYNC_INTERVALS)}")
    overrides = {"SYNTOR_INFERENCE_PROVIDER": provider, "SYNTOR_INFERENCE_MODEL": model}
    overrides = {name: text for name, text in overrides.items() if text}
    configuration = load_configuration(home, None, {**environ, **overrides}, {})
    return Options(
        home=str(home),
        version=version,
        durability=durability,
        model=configuration.model_for(DEFAULT_AGENT)[0],
        overrides=overrides,
        http_host=environ.get("SYNTOR_HTTP_HOST") or LOOPBACK,
        http_port=_port(environ, "SYNTOR_HTTP_PORT", HTTP_PORT),
        nats_port=_port(environ, "SYNTOR_NATS_PORT", NATS_PORT),
        nats_url=_nats_url(environ),
        database_url=environ.get("SYNTOR_DATABASE_URL", ""),
        health_port=_port(environ, "SYNTOR_HEALTH_PORT", 0),
        services=_services(services),
    )


def _port(environ: Mapping[str, str], variable: str, default: int) -> int:
    text = environ.get(variable, "").strip()
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise ConfigurationError(f"{variable}={text!r}: expected a port, 1 to 65535")
    return int(text)


def _nats_url(environ: Mapping[str, str]) -> str:
    url = environ.get("SYNTOR_NATS_URL", "").strip()
    if url and not url.startswith(("nats://", "tls://", "ws://", "wss://")):
        raise ConfigurationError(f"SYNTOR_NATS_URL={url!r}: expected nats://host:port")
    return url


def _services(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    known = [spec.name for spec in SERVICES]
    for name in names:
        if name not in known:
            raise ConfigurationError(f"service {name!r}: expected one of {', '.join(known)}")
    return names
