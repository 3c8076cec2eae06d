"""Streamed Markdown: blocks are split correctly, and without a terminal chunks are written unchanged."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syntor.cli.markdown_stream import MarkdownStream, split_blocks


@pytest.mark.parametrize(
    ("text", "done"),
    [
        ("one line", ""),
        ("one\n\ntwo", "one\n\n"),
        ("```py\na\n\nb\n", ""),
        ("```py\na\n\nb\n```\nrest", "```py\na\n\nb\n```\n"),
        ("a\n\n~~~\nx\n", "a\n\n"),
    ],
)
def test_a_block_ends_at_a_blank_line_outside_a_fence(text: str, done: str) -> None:
    assert split_blocks(text) == (done, text[len(done) :])


@given(st.lists(st.text(alphabet="ab \n`#", max_size=6), max_size=20))
def test_nothing_is_lost_or_repeated_however_the_text_is_chunked(pieces: list[str]) -> None:
    done, rest = "", ""
    for piece in pieces:
        finished, rest = split_blocks(rest + piece)
        done += finished
    assert done + rest == "".join(pieces)


def test_without_a_terminal_chunks_are_written_unchanged_and_the_line_is_ended() -> None:
    output = io.StringIO()
    stream = MarkdownStream(output)
    stream.feed("# a")
    assert output.getvalue() == "# a"
    stream.feed("b")
    stream.close()
    assert output.getvalue() == "# ab\n"


def test_a_response_without_live_output_is_shown_at_its_end() -> None:
    output = io.StringIO()
    stream = MarkdownStream(output, live=False)
    stream.feed("a")
    stream.feed("b")
    assert output.getvalue() == ""
    stream.close()
    assert output.getvalue() == "ab\n"
