"""Words of a parsed command: texts in which a few control characters stand for what is known only at run time.

`ANY` is any text, `STAR` and `ONE` are the wildcards of a file pattern. A shell word cannot hold these characters, and
a command that does is not parsed at all, so a word can be matched, shown and compared as an ordinary text.
"""

from __future__ import annotations

import functools
import itertools
import re
from typing import Final

ANY: Final = "\x00"
STAR: Final = "\x01"
ONE: Final = "\x02"
SPLIT: Final = "\x03"
"""A blank of an unquoted expansion: the word is cut there."""
OPEN, COMMA, CLOSE = "\x04", "\x05", "\x06"
"""Unquoted `{`, `,` and `}`, until braces are expanded."""
LEFT, RIGHT = "\x0f", "\x10"
"""Unquoted `[` and `]`, until it is known whether they are a pattern."""
EMPTY: Final = "\x0e"
"""Quotes: a word that consists of them alone is empty, but is a word."""
RESERVED = frozenset((ANY, STAR, ONE, SPLIT, OPEN, COMMA, CLOSE, LEFT, RIGHT, EMPTY))
_MAX_EXPANSIONS = 64
_BRACES = re.compile(f"{OPEN}([^{OPEN}{CLOSE}]*){CLOSE}")
_SET = re.compile(f"{LEFT}[^{RIGHT}/{SPLIT}]+{RIGHT}")
_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)\Z")
_SHOWN = str.maketrans(
    {ANY: "…", STAR: "*", ONE: "?", OPEN: "{", COMMA: ",", CLOSE: "}", LEFT: "[", RIGHT: "]", SPLIT: " ", EMPTY: None}
)


def is_known(word: str) -> bool:
    """Return whether a word is the same whenever the command runs, file patterns aside."""
    return ANY not in word


def is_pattern(word: str) -> bool:
    """Return whether a word stands for several texts: it holds a file pattern or something unknown."""
    return any(sign in word for sign in (ANY, STAR, ONE))


def shown(word: str) -> str:
    """Return a word for people."""
    return word.translate(_SHOWN)


def finished(raw: str) -> list[str]:
    """Return the words a raw one becomes: braces expanded, cut at the blanks of unquoted expansions."""
    words: list[str] = []
    for each in _expanded(raw):
        plain = each.replace(OPEN, "{").replace(COMMA, ",").replace(CLOSE, "}")
        plain = _SET.sub(ONE, plain).replace(LEFT, "[").replace(RIGHT, "]")
        words += [part.replace(EMPTY, "") for part in plain.split(SPLIT) if part]
    return words


def _expanded(raw: str) -> list[str]:
    found = _BRACES.search(raw)
    if found is None:
        return [raw]
    if COMMA in found[1]:
        choices = found[1].split(COMMA)
    elif (span := _RANGE.match(found[1])) and abs(int(span[2]) - int(span[1])) < _MAX_EXPANSIONS:
        first, last = int(span[1]), int(span[2])
        choices = [
            str(number) for number in range(first, last + (1 if last >= first else -1), 1 if last >= first else -1)
        ]
    elif ".." in found[1]:
        choices = [ANY]
    else:  # `{x}` is no expansion
        return _expanded(f"{raw[: found.start()]}{{{found[1]}}}{raw[found.end() :]}")
    texts = (_expanded(raw[: found.start()] + choice + raw[found.end() :]) for choice in choices)
    expanded = list(itertools.islice(itertools.chain.from_iterable(texts), _MAX_EXPANSIONS + 1))
    return expanded if len(expanded) <= _MAX_EXPANSIONS else [ANY]


@functools.lru_cache(maxsize=1024)
def word_pattern(word: str) -> re.Pattern[str]:
    """Return the pattern of the texts a word can be."""
    return re.compile("".join(_regex(sign) for sign in word) + r"\Z", re.DOTALL)


def _regex(sign: str) -> str:
    if sign == ANY:
        return ".*"
    return "[^/]*" if sign == STAR else "[^/]" if sign == ONE else re.escape(sign)


def can_be(word: str, text: str) -> bool:
    """Return whether a word can be a text."""
    return word == text if not is_pattern(word) else word_pattern(word).match(text) is not None
