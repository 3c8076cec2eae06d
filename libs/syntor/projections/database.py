"""Opens the store of a read-model database by its URL; loads only the driver it needs."""

from __future__ import annotations

from syntor.contracts.errors import ConfigurationError
from syntor.projections.store import ReadModelStore


def open_store(url: str) -> ReadModelStore:
    """Return the store for a database URL; the caller opens it.

    Raises:
        ConfigurationError: the URL is not of a supported database.
    """
    if url.startswith("sqlite:///"):
        from syntor.projections.sqlite import SqliteStore

        return SqliteStore(url.removeprefix("sqlite://"))
    if url.startswith(("postgresql://", "postgres://")):
        from syntor.projections.postgres import PostgresStore

        return PostgresStore(url)
    raise ConfigurationError(f"SYNTOR_DATABASE_URL={url!r}: expected sqlite:///path or postgresql://user@host/database")
