"""Which files may hold credentials, judged by their name alone."""

from __future__ import annotations

import fnmatch
from pathlib import PurePath

SECRET_FOLDERS = frozenset({".ssh", ".aws", ".gnupg", ".kube", ".docker"})
SECRET_PATTERNS = (
    ".env", ".env.*", "*.pem", "*.key", "*.p12", "*.pfx", "id_rsa*", "id_ed25519*", "id_ecdsa*", ".netrc", ".pgpass",
    ".npmrc", ".pypirc", "credentials", "credentials.json", "secrets.*", "*.kdbx", ".htpasswd", ".git-credentials",
)  # fmt: skip
_NOT_SECRET = frozenset({".env.example", ".env.sample", ".env.template"})


def is_secret(path: PurePath) -> bool:
    """Return whether a file may hold credentials."""
    name = path.name.lower()
    named = name not in _NOT_SECRET and any(fnmatch.fnmatch(name, pattern) for pattern in SECRET_PATTERNS)
    return named or any(part in SECRET_FOLDERS for part in path.parts)
