"""Bearer tokens of the HTTP API: `<home>/tokens.json` holds names, scopes and hashes, never a token.

A token is `syntor_<id>_<secret>`; the secret has 256 bits, so a plain SHA-256 of it is as good as a slow hash.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from syntor.contracts.clock import now
from syntor.contracts.decoding import UNDECODABLE
from syntor.contracts.errors import ConfigurationError, InvalidInputError, NotFoundError
from syntor.contracts.run.v1 import Ceiling
from syntor.runtime.private_files import make_private_folder

FILE = "tokens.json"
SCOPES = ("read", "run", "approve", "admin")
"""read: read everything; run: start, cancel and retry runs, change sessions; approve: decide on approvals; admin:
agents and dead letters. admin includes all others."""
PREFIX = "syntor"
"""Of the text of a token."""


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored of a token."""

    id: str
    name: str
    """Name of its holder, for people."""
    scopes: list[str]
    sha256: str
    """Of the secret, hexadecimal."""
    created_at: datetime
    expires_at: datetime | None = None
    ceiling: Ceiling | None = None
    """The most runs it starts may do; None: what the server allows."""

    def allows(self, scope: str) -> bool:
        """Return whether it has a scope."""
        return scope in self.scopes or "admin" in self.scopes

    def is_expired(self, now: datetime) -> bool:
        """Return whether it has expired."""
        return self.expires_at is not None and self.expires_at <= now


def read_tokens(home: Path) -> list[Token]:
    """Return the tokens there are; none where there is no file.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    path = home / FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Token])
    except FileNotFoundError:
        return []
    except (OSError, *UNDECODABLE) as exc:
        raise ConfigurationError(f"{path}: {exc}") from exc


def create_token(
    home: Path, name: str, scopes: list[str], days: float | None, now: datetime, ceiling: Ceiling | None = None
) -> tuple[Token, str]:
    """Make a token, store its hash, and return it with its text, which cannot be shown again.

    Raises:
        InvalidInputError: a scope is unknown, or none is given.
    """
    if unknown := [scope for scope in scopes if scope not in SCOPES]:
        raise InvalidInputError(f"scope {unknown[0]!r}: expected {', '.join(SCOPES)}", field="scope")
    if not scopes or not name.strip():
        raise InvalidInputError("a token needs a name and at least one scope", field="scope")
    if days is not None and days <= 0:
        raise InvalidInputError(f"days {days:g}: expected more than 0", field="days")
    identity, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
    token = Token(
        id=identity,
        name=name.strip(),
        scopes=list(dict.fromkeys(scopes)),
        sha256=hash_of(secret),
        created_at=now,
        expires_at=None if days is None else now + timedelta(days=days),
        ceiling=ceiling,
    )
    _write(home, [*read_tokens(home), token])
    return token, f"{PREFIX}_{identity}_{secret}"


def revoke_token(home: Path, identity: str) -> Token:
    """Remove a token by its id or name.

    Raises:
        NotFoundError: there is none, or more than one has the name.
    """
    tokens = read_tokens(home)
    found = [token for token in tokens if identity in (token.id, token.name)]
    if len(found) != 1:
        known = ", ".join(f"{token.id} ({token.name})" for token in tokens) or "none"
        raise NotFoundError(f"no one token {identity!r}; there are: {known}")
    _write(home, [token for token in tokens if token is not found[0]])
    return found[0]


class TokenFile:
    """The tokens as the file has them now; a lookup costs one `stat`."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._stamp: tuple[int, int] | None = None
        self._tokens: dict[str, Token] = {}

    def find(self, text: str) -> Token | None:
        """Return the token of a text; None when it is unknown, revoked or expired.

        Raises:
            ConfigurationError: the file cannot be read.
        """
        self._refresh()
        prefix, _, rest = text.partition("_")
        identity, _, secret = rest.partition("_")
        token = self._tokens.get(identity) if prefix == PREFIX else None
        if token is None or not hmac.compare_digest(token.sha256, hash_of(secret)):
            return None
        return None if token.is_expired(now()) else token

    def _refresh(self) -> None:
        try:
            status = (self._home / FILE).stat()
            stamp = (status.st_mtime_ns, status.st_size)
        except OSError:
            stamp = (0, 0)
        if stamp != self._stamp:
            self._tokens = {token.id: token for token in read_tokens(self._home)}
            self._stamp = stamp


def hash_of(secret: str) -> str:
    """Return what is stored of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _write(home: Path, tokens: list[Token]) -> None:
    make_private_folder(home)
    temporary = home / f"{FILE}.{os.getpid()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(tokens), indent=2))
    temporary.replace(home / FILE)
