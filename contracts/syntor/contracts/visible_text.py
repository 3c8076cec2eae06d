"""Text from outside as it is shown to people: characters that could hide or reorder what is read are made visible.

Control characters (but line feed and tab), bidirectional controls, zero-width and other format characters, variation
selectors, private and unassigned ones are written as `<U+XXXX>`. The one exception is the emoji selector right after a
symbol.
"""

from __future__ import annotations

import unicodedata

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_FILLERS = frozenset("\u115f\u1160\u3164\uffa0\u2800\u034f\u17b4\u17b5")  # letters and marks that are drawn as nothing
_SELECTORS = (
    frozenset(map(chr, range(0xFE00, 0xFE10)))
    | frozenset(map(chr, range(0xE0100, 0xE01F0)))
    | frozenset("\u180b\u180c\u180d\u180f")
)
_EMOJI_SELECTOR = "\ufe0f"
_KEPT = frozenset("\n\t")


def visible(text: str) -> str:
    """Return a text in which nothing is invisible."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character if character == _EMOJI_SELECTOR and _is_symbol(before) else _shown(character)
        for before, character in zip(["", *text[:-1]], text, strict=True)
    )


def visible_line(text: str, limit: int) -> str:
    """Return at most `limit` characters of a text on one line, and how many were left out."""
    line = visible(" ".join(text[: limit * 4].split()))
    if len(line) <= limit and len(text) <= limit * 4:
        return line
    return f"{line[:limit]}... ({len(text)} characters)"


def _is_symbol(character: str) -> bool:
    return character != "" and unicodedata.category(character) == "So"


def _shown(character: str) -> str:
    if character in _KEPT:
        return character
    if character in _FILLERS or character in _SELECTORS or unicodedata.category(character) in _HIDDEN:
        return f"<U+{ord(character):04X}>"
    return character
