"""Words of a parsed command: texts in which a few control characters stand for what is known only at run time.

`ANY` is any text, `STAR` and `ONE` are the wildcards of a file pattern. A shell word cannot hold these characters, and
a command that does is not parsed at all, so a word can be matched, shown and compared as an ordinary text.
"""

from __future__ import annotations

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
_MAX_CHARACTERS = 64 * 1024  # of a word; a longer one is any word
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
    if len(raw) > _MAX_CHARACTERS:
        return [ANY]
    words: list[str] = []
    for each in _expanded(raw):
        plain = each.replace(OPEN, "{").replace(COMMA, ",").replace(CLOSE, "}")
        plain = _SET.sub(ONE, plain).replace(LEFT, "[").replace(RIGHT, "]")
        words += [part.replace(EMPTY, "") for part in plain.split(SPLIT) if part]
    return words


def _expanded(raw: str) -> list[str]:
    """Return a word with its braces expanded; one that becomes too many words is any word."""
    expanded: list[str] = []
    pending = [raw]
    while pending:
        text = pending.pop()
        found = _BRACES.search(text)
        if found is None:
            expanded.append(text)
        else:
            pending += [text[: found.start()] + choice + text[found.end() :] for choice in reversed(_choices(found[1]))]
        if len(expanded) + len(pending) > _MAX_EXPANSIONS:
            return [ANY]
    return expanded


def _choices(inside: str) -> list[str]:
    if COMMA in inside:
        return inside.split(COMMA)
    span = _RANGE.match(inside)
    if span is not None and abs(int(span[2]) - int(span[1])) < _MAX_EXPANSIONS:
        first, last = int(span[1]), int(span[2])
        step = 1 if last >= first else -1
        return [str(number) for number in range(first, last + step, step)]
    return [ANY] if ".." in inside else [f"{{{inside}}}"]  # `{x}` is no expansion


def can_be(word: str, text: str) -> bool:
    """Return whether a word can be a text; takes time by the product of their lengths, whatever the wildcards."""
    if not is_pattern(word):
        return word == text
    every = (1 << (len(text) + 1)) - 1  # bit n: the first n characters are matched
    behind: dict[str, int] = {}  # bit n + 1 is set where character n of the text is this one
    for index, sign in enumerate(text):
        behind[sign] = behind.get(sign, 0) | 2 << index
    in_name = every & ~1 & ~behind.get("/", 0)
    reached = 1
    for sign in word:
        if sign == ANY:
            reached = every & -(reached & -reached)
        elif sign == STAR:
            reached = _with_steps(reached, in_name, len(text))
        else:
            reached = reached << 1 & (in_name if sign == ONE else behind.get(sign, 0))
    return bool(reached >> len(text) & 1)


def _with_steps(reached: int, may_step: int, longest: int) -> int:
    """Return the bits reached by any number of steps to the next one, where that is set in `may_step`."""
    distance = 1
    while distance <= longest:
        reached |= reached << distance & may_step
        may_step &= may_step << distance
        distance *= 2
    return reached
