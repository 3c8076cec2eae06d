"""NATS credentials of tools; not for the supervisor, which loads neither nats nor ssl."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from syntor.contracts.access import ADMIN, SEED_SUFFIX
from syntor.jetstream.access import Access
from syntor.stack.layout import Layout, home_folder


def admin_access(environ: Mapping[str, str]) -> Access:
    """Return the key `admin` of the folder `SYNTOR_NATS_KEYS`, else of the home folder's own stack."""
    folder = environ.get("SYNTOR_NATS_KEYS", "")
    if not folder and not environ.get("SYNTOR_NATS_URL"):
        folder = str(Layout(home_folder(environ)).nats_keys)
    key = Path(folder) / f"{ADMIN}{SEED_SUFFIX}"
    return Access(
        nkey=str(key) if folder and key.exists() else "",
        ca=environ.get("SYNTOR_NATS_CA", ""),
        cert=environ.get("SYNTOR_NATS_CERT", ""),
        key=environ.get("SYNTOR_NATS_KEY", ""),
    )
