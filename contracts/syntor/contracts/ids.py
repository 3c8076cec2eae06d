"""Makes identifiers: 26 lower-case Crockford base-32 characters, no dots, valid as one subject token.

Random ids sort by creation time (48 bits of milliseconds, then 80 random bits, as a ULID does).
Derived ids are a digest of the caller's key, so that the same request always names the same run.
"""

import hashlib
import os
import re
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base 32, lower case
ID_LENGTH = 26  # characters; 130 bits, of which 128 are used
TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")  # what one id token of a subject may hold (ADR-6 without dots)


def new_id() -> str:
    """Return a fresh id; ids of later milliseconds sort after earlier ones."""
    return _encode((time.time_ns() // 1_000_000).to_bytes(6, "big") + os.urandom(10))


def derived_id(*parts: str) -> str:
    """Return the id that belongs to `parts`: the same parts give the same id in every process, always."""
    digest = hashlib.sha256("\x1f".join(parts).encode()).digest()
    return _encode(digest[:16])


def is_token(text: str) -> bool:
    """Return whether `text` is valid as one id token of a subject: 1 to 64 of letters, digits, `_`, `-`."""
    return TOKEN.match(text) is not None


def _encode(raw: bytes) -> str:
    number = int.from_bytes(raw, "big")
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))
