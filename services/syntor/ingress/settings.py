"""Settings of the ingress."""

from __future__ import annotations

from collections.abc import Mapping
from os import environ as process_environ

from syntor.ingress.origin import require_loopback
from syntor.runtime.settings import ServiceSettings, read_settings


class IngressSettings(ServiceSettings, frozen=True, kw_only=True):
    """What the ingress reads besides what all services read."""

    http_host: str = "127.0.0.1"
    """Address of the HTTP server; loopback only while there are no tokens."""
    http_port: int = 8420
    """Port of it; 0: a free one, written to the log."""
    agent_timeout_s: float = 300.0
    """Seconds a task may take where the request names none."""


def read_ingress_settings(environ: Mapping[str, str] = process_environ) -> IngressSettings:
    """Read the settings.

    Raises:
        ConfigurationError: a value is wrong, or the address is not loopback.
    """
    settings = read_settings(IngressSettings, environ)
    require_loopback(settings.http_host)
    return settings
