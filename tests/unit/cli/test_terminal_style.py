"""The terminal's own words about its background are heeded, and NO_COLOR keeps the layout."""

from __future__ import annotations

import io

import pytest

from syntor.cli.terminal_style import background, console, dim


@pytest.mark.parametrize(
    ("told", "expected"), [("0;15", "light"), ("0;default;7", "light"), ("15;0", "dark"), ("", "dark"), ("x", "dark")]
)
def test_the_background_is_what_the_terminal_tells(told: str, expected: str) -> None:
    assert background({"COLORFGBG": told}) == expected


def test_no_color_keeps_the_layout_without_dim_or_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.markdown import Markdown

    class _Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    assert dim("aside") == "aside"
    output = _Terminal()
    console(output).print(Markdown("# Title\n\n- one\n- **two**\n\n> quoted"))
    shown = output.getvalue()
    assert "•" in shown
    assert "\x1b[1mtwo\x1b[0m" in shown
    assert "\x1b[3" not in shown.replace("\x1b[3m", "")  # no colour; italics are layout
    assert "\x1b[2m" not in shown
