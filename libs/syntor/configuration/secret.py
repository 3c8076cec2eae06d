"""Recognises values that look like secrets, so that they are masked where they are shown."""

from __future__ import annotations

import re

_NAMES = re.compile(r"(api_?key|token|secret|password|passwd|credential)s?\Z", re.IGNORECASE)
_VALUES = re.compile(
    r"(sk-[\w-]{8,}|(ghp|gho|ghs|ghu|github_pat)_\w{8,}|xox[abprs]-[\w-]{8,}|AKIA[0-9A-Z]{12,}|AIza[\w-]{20,}"
    r"|eyJ[\w-]{10,}\.[\w-]{10,}\.|-----BEGIN [A-Z ]*PRIVATE KEY-----|(?=\w*[0-9])(?=\w*[A-Za-z])\w{32,}\Z)"
)
_PASSWORD_IN_URL = re.compile(r"(\b\w+://[^\s/:@]*:)([^\s/@]+)(@)")
_SHOWN = 4  # characters of a secret that stay, to tell one from another


def masked(name: str, text: str) -> str:
    """Return the text with what looks like a secret replaced; the name of the setting counts as well."""
    text = _PASSWORD_IN_URL.sub(r"\1***\3", text)
    if (_NAMES.search(name.rpartition(".")[2]) or _VALUES.match(text)) and text:
        return f"{text[:_SHOWN]}***" if len(text) > 3 * _SHOWN else "***"
    return text
