"""Text from outside as it is shown to people: characters that could hide or reorder what is read are made visible.

Control characters (but line feed and tab), bidirectional controls, zero-width and other format characters, private and
unassigned ones are written as `<U+XXXX>`.
"""

from __future__ import annotations

import unicodedata

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_FILLERS = frozenset("\u115f\u1160\u3164\uffa0\u2800")  # letters that are drawn as nothing
_KEPT = frozenset("\n\t")


def visible(text: str) -> str:
    """Return a text in which nothing is invisible."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def visible_line(text: str, limit: int) -> str:
    """Return at most `limit` characters of a text on one line, and how many were left out."""
    line = visible(" ".join(text[: limit * 4].split()))
    if len(line) <= limit and len(text) <= limit * 4:
        return line
    return f"{line[:limit]}... ({len(text)} characters)"


def _shown(character: str) -> str:
    if character in _KEPT:
        return character
    if character in _FILLERS or unicodedata.category(character) in _HIDDEN:
        return f"<U+{ord(character):04X}>"
    return character
