"""Settings of the projector."""

from __future__ import annotations

from syntor.runtime.settings import ServiceSettings


class ProjectorSettings(ServiceSettings, frozen=True, kw_only=True):
    """Read from `SYNTOR_*`."""

    database_url: str = ""
    """sqlite:///path or postgresql://...; empty: SQLite below the home folder."""
    max_lag: int = 50_000
    """Events the read model may be behind the log before the `lag` health check fails."""

    @property
    def database(self) -> str:
        """URL of the database: `database_url`, or the default."""
        return self.database_url or f"sqlite:///{self.home}/data/readmodel.db"
