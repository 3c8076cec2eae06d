"""Renders streamed Markdown: finished blocks are printed once, only the open block is redrawn.

Redrawing everything for each chunk costs forty times as much and flickers. Without a terminal chunks are written
unchanged; with theme none or a dumb terminal they have no layout, but nothing in them is hidden.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

from syntor.cli.terminal_style import background, console, is_plain
from syntor.contracts.visible_text import visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

_REFRESH_PER_S = 10
_CODE_THEMES = {"dark": "monokai", "light": "friendly"}
_TAIL_LINES = 12  # of the open block shown while it grows; it is printed in full when it ends


def split_blocks(text: str) -> tuple[str, str]:
    """Return the finished blocks of a Markdown text and the open rest: blocks end at a blank line outside a fence."""
    fence, end, position = "", 0, 0
    for line in text.splitlines(keepends=True):
        stripped = line.strip()
        position += len(line)
        marker = stripped[:3]
        if fence:
            if marker == fence and set(stripped) == {fence[0]} and line.endswith("\n"):
                fence, end = "", position
        elif marker in ("```", "~~~"):
            fence = marker
        elif not stripped and line.endswith("\n"):
            end = position
    return text[:end], text[end:]


class MarkdownStream:
    """One response on one terminal."""

    def __init__(
        self, stream: TextIO | None = None, *, theme: str = "auto", live: bool = True, redraw: bool = True
    ) -> None:
        """Prepare.

        Args:
            theme: auto, dark, light, or none for plain text (`cli.theme`).
            live: show each chunk immediately; False: the whole response at its end (`cli.stream_response`).
            redraw: draw the open block too; False: something else shows `open_text`.
        """
        self._stream = stream or sys.stdout
        self._shown_to_people = self._stream.isatty()
        self._pretty = self._shown_to_people and theme != "none" and not is_plain()
        self._code_theme = _CODE_THEMES[theme if theme in _CODE_THEMES else background()]
        self._live_wanted = live
        self._redraw = redraw
        self._held: list[str] = []
        self._open = ""
        self._live: Live | None = None
        self._console: Console | None = None
        self._last = ""

    @property
    def open_text(self) -> str:
        """The block that is not printed yet."""
        return self._open

    def feed(self, text: str) -> None:
        """Add text."""
        if not text:
            return
        if self._shown_to_people:
            text = visible(text)
        if not self._live_wanted:
            self._held.append(text)
            return
        self._last = text[-1]
        if not self._pretty and self._redraw:
            self._stream.write(text)
            self._stream.flush()
            return
        done, self._open = split_blocks(self._open + text)
        if done.strip():
            self._print(done)
        if self._redraw:
            self._draw()

    def pause(self) -> None:
        """Print the open block, so that other output can be written below."""
        if self._pretty or not self._redraw:
            rest, self._open = self._open, ""
            if rest.strip():
                self._print(rest)
            self._stop()

    def close(self) -> None:
        """Print the rest, and end the line."""
        if self._held:
            text, self._held, self._live_wanted = "".join(self._held), [], True
            self.feed(text)
        self.pause()
        if not self._pretty and self._redraw and self._last not in ("", "\n"):
            self._stream.write("\n")
            self._stream.flush()

    def _terminal(self) -> Console:
        if self._console is None:
            self._console = console(self._stream)
        return self._console

    def _print(self, text: str) -> None:
        from rich.markdown import Markdown

        self._stop()
        if not self._pretty:
            self._stream.write(text if text.endswith("\n") else f"{text}\n")
            self._stream.flush()
            return
        self._terminal().print(Markdown(text, code_theme=self._code_theme, hyperlinks=False))

    def _draw(self) -> None:
        from rich.live import Live
        from rich.markdown import Markdown

        tail = "\n".join(self._open.splitlines()[-_TAIL_LINES:])
        if not tail.strip():
            return
        if self._live is None:
            self._live = Live(
                console=self._terminal(), refresh_per_second=_REFRESH_PER_S, transient=True, vertical_overflow="crop"
            )
            self._live.start()
        self._live.update(Markdown(tail, code_theme=self._code_theme, hyperlinks=False))

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


def configured_stream(*, redraw: bool = True) -> MarkdownStream:
    """Return a stream on standard output, configured by `cli.theme` and `cli.stream_response`."""
    from syntor.cli.project import configuration

    chosen = configuration(ask=False).cli
    return MarkdownStream(theme=chosen.theme, live=chosen.stream_response, redraw=redraw)
