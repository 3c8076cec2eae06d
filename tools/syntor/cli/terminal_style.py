"""How text looks on this terminal: colours, or with NO_COLOR the same layout without them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, TextIO

if TYPE_CHECKING:
    from rich.console import Console

ADDED, REMOVED = "cyan", "yellow"
"""Colours of a diff's lines: told apart by people who confuse red and green, and never the only mark."""


def is_plain() -> bool:
    """Return whether the terminal takes no control sequences at all."""
    return os.environ.get("TERM") == "dumb"


def has_colour() -> bool:
    """Return whether colours and dimmed text are wanted."""
    return not is_plain() and not os.environ.get("NO_COLOR")


def background(environ: Mapping[str, str] = os.environ) -> Literal["dark", "light"]:
    """Return the background the terminal tells in COLORFGBG (`foreground;background`, as numbers); else dark."""
    number = environ.get("COLORFGBG", "").rpartition(";")[2]
    return "light" if number in ("7", "15") else "dark"


def dim(text: str) -> str:
    """Return a text in the style of side remarks."""
    return f"\x1b[2m{text}\x1b[0m" if has_colour() else text


def console(stream: TextIO) -> Console:
    """Return a console of rich on a stream; with NO_COLOR it keeps bold, tables and indentation."""
    from rich.console import Console
    from rich.theme import Theme

    plain = Theme({"dim": "none", "bright_black": "none", "repr.number": "none"}, inherit=True)
    coloured = has_colour()
    return Console(
        file=stream, soft_wrap=False, highlight=False, no_color=not coloured, theme=None if coloured else plain
    )
