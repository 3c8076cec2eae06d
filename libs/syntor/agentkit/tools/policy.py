"""Decides about a tool call before it runs: inside the workspace and not a secret, or not at all."""

from __future__ import annotations

import fnmatch
from pathlib import Path

ALLOW, DENY = "allow", "deny"
SECRET_PATTERNS = (
    ".env", ".env.*", "*.pem", "*.key", "*.p12", "*.pfx", "id_rsa*", "id_ed25519*", "id_ecdsa*", ".netrc", ".pgpass",
    ".npmrc", ".pypirc", "credentials", "credentials.json", "secrets.*", "*.kdbx", ".htpasswd",
)  # fmt: skip
SECRET_FOLDERS = frozenset({".ssh", ".aws", ".gnupg", ".kube", ".docker"})


def is_secret(path: Path) -> bool:
    """Tell whether a file by its name may hold credentials."""
    named = any(fnmatch.fnmatch(path.name.lower(), pattern) for pattern in SECRET_PATTERNS)
    return named or any(part in SECRET_FOLDERS for part in path.parts)


def resolve(workspace: Path, path: str) -> Path | None:
    """Return where a path really is, links followed; None when that is outside the workspace."""
    try:
        real = (workspace / path).resolve()
    except (OSError, ValueError):
        return None
    return real if real.is_relative_to(workspace.resolve()) else None


def decide(workspace: Path | None, paths: list[str]) -> tuple[str, str]:
    """Return `allow` or `deny`, and the reason."""
    if workspace is None:
        return DENY, "this run has no workspace"
    for path in paths:
        real = resolve(workspace, path)
        if real is None:
            return DENY, f"{path} is outside the workspace"
        if is_secret(real) or is_secret(Path(path)):
            return DENY, f"{path} may hold secrets"
    return ALLOW, "reads inside the workspace"
