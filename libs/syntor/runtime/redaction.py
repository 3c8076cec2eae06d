"""Removes credentials from what is about to be stored: log lines, tool results, error texts.

It knows the values of this process's own secret variables, and tokens by their form. What a person writes in a message
is stored unchanged: it may be meant to be used.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping

MARK = "[redacted]"
_SECRET_NAMES = ("_KEY", "_TOKEN", "_SECRET", "_PASSWORD", "_PASSWD", "_CREDENTIALS")
_LEAST = 12  # characters; a shorter value is as likely a word
_FORMS = re.compile(
    r"""
    -----BEGIN\ (?P<kind>[A-Z ]*PRIVATE\ KEY)-----.+?(?:-----END\ (?P=kind)-----|\Z)
    | \b(?:sk|rk|pk)-(?:[a-z]+-)*[A-Za-z0-9_-]{20,}      # OpenAI, Anthropic and compatible providers
    | \b(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,}         # Stripe
    | \bgh[pousr]_[A-Za-z0-9]{30,} | \bgithub_pat_[A-Za-z0-9_]{40,} | \bglpat-[A-Za-z0-9_-]{20,}
    | \bxox[abeprs]-[A-Za-z0-9-]{10,}                    # Slack
    | \b(?:AKIA|ASIA)[0-9A-Z]{16}\b | \bAIza[A-Za-z0-9_-]{35} | \bhf_[A-Za-z0-9]{30,} | \bnpm_[A-Za-z0-9]{36}
    | \bpypi-[A-Za-z0-9_-]{50,} | \bsyntor_[0-9a-f]{8}_[A-Za-z0-9_-]{40,} | \bS[UAOCNX][A-Z2-7]{56}\b
    | \beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}   # a JWT
    | (?<=[Bb]earer\ )[A-Za-z0-9._~+/=-]{16,}
    | (?<=://)[^\s/:@]*:[^\s/@]{3,}(?=@)                 # user:password@ of a URL
    """,
    re.VERBOSE | re.DOTALL,
)


def redact(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return a text without the credentials in it, each replaced by `[redacted]`."""
    for value in _values(tuple(environ.get(name, "") for name in _names(tuple(environ)))):
        if value in text:
            text = text.replace(value, MARK)
    return _FORMS.sub(MARK, text)


def holds_key(text: str) -> bool:
    """Return whether a text holds a credential by its form; passwords in URLs and bearer examples do not count."""
    return any(
        not text[max(0, found.start() - 7) : found.start()].endswith(("://", "earer "))
        for found in _FORMS.finditer(text)
    )


@functools.lru_cache(maxsize=4)
def _names(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if name.upper().endswith(_SECRET_NAMES))


@functools.lru_cache(maxsize=4)
def _values(values: tuple[str, ...]) -> tuple[str, ...]:
    """Return what is long enough to be a secret and is no path, the longest first."""
    long = {value for value in values if len(value) >= _LEAST and not value.startswith(("/", "~", "./"))}
    return tuple(sorted(long, key=len, reverse=True))
