"""Settings of the registry."""

from __future__ import annotations

from syntor.runtime.settings import ServiceSettings


class RegistrySettings(ServiceSettings, frozen=True, kw_only=True):
    """Read from `SYNTOR_*`; the registry has none of its own."""
