"""Settings of the orchestrator."""

from __future__ import annotations

from syntor.runtime.settings import ServiceSettings


class OrchestratorSettings(ServiceSettings, frozen=True, kw_only=True):
    """Read from `SYNTOR_*`."""

    max_concurrent_decisions: int = 128
    """Messages one instance handles concurrently; each takes milliseconds."""
    cached_runs: int = 2_000
    """Runs whose state is kept in memory; an ended run is kept until others push it out."""
    cached_sessions: int = 2_000
    """Sessions whose turns are kept in memory."""
