"""What an edit does not touch keeps its bytes, whatever the file's encoding and line ends."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syntor.agentkit.domain import text_format
from syntor.agentkit.domain.text_edit import applied, closest_lines, diff, spans
from syntor.agentkit.domain.tool_error import ToolError

GERMAN = "Die Größe der Tür wächst über Nacht.\nEin schöner Gruß aus Köln.\n"
RUSSIAN = "Привет, как дела сегодня? Всё хорошо, спасибо.\n"
JAPANESE = "これは日本語の文章です。今日はとても良い天気ですね。\n"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (GERMAN.encode(), "UTF-8, LF"),
        (codecs.BOM_UTF8 + GERMAN.encode(), "UTF-8 with BOM, LF"),
        (codecs.BOM_UTF16_LE + GERMAN.encode("utf-16-le"), "UTF-16-LE, LF"),
        (codecs.BOM_UTF16_BE + GERMAN.replace("\n", "\r\n").encode("utf-16-be"), "UTF-16-BE, CRLF"),
        (codecs.BOM_UTF32_LE + GERMAN.encode("utf-32-le"), "UTF-32-LE, LF"),
        (GERMAN.replace("\n", "\r").encode(), "UTF-8, CR"),
        (b"a\r\nb\nc\r\n", "UTF-8, mixed line ends"),
        (b"", "UTF-8, LF"),
    ],
)
def test_the_form_is_recognised_and_kept(data: bytes, said: str) -> None:
    text = text_format.decode(data)
    assert text.form.describe() == said
    assert text_format.encode(text.raw, text.form) == data


@pytest.mark.parametrize(
    ("content", "encoding"),
    [(GERMAN, "latin-1"), (RUSSIAN, "cp1251"), (JAPANESE, "shift_jis"), ("caf\xe9\n", "latin-1")],
)
def test_an_encoding_that_is_not_utf_8_is_guessed(content: str, encoding: str) -> None:
    text = text_format.decode(content.encode(encoding))
    assert text.lines == content
    assert text_format.encode(text.raw, text.form) == content.encode(encoding)


def test_a_character_the_encoding_lacks_is_refused_with_the_reason() -> None:
    text = text_format.decode(GERMAN.encode("latin-1"))
    with pytest.raises(ToolError, match="which has no '✓'"):
        text_format.encode(text.raw + "✓", text.form)


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(ToolError, match="NUL"):
        text_format.decode(b"\x7fELF\0\0")


@given(st.lists(st.sampled_from(["a\r\n", "b\n", "c", "\r", "d\r\n"])), st.data())
def test_an_edit_changes_nothing_outside_its_part(parts: list[str], data: st.DataObject) -> None:
    text = text_format.decode("".join(parts).encode())
    start = data.draw(st.integers(0, len(text.lines)))
    end = data.draw(st.integers(start, len(text.lines)))
    new = data.draw(st.sampled_from(["", "x", "x\ny"]))
    raw = text.replaced([(start, end, new)])
    after = text_format.decode(raw.encode())
    if text.form.newline != "\r" and "\r" not in text.lines and "\r" not in after.lines:
        assert after.lines == applied(text.lines, [(start, end, new)])
    kept_before = len(text.replaced([(start, len(text.lines), "")]))
    assert raw.startswith(text.raw[:kept_before])
    kept_after = len(text.replaced([(0, end, "")]))
    assert raw.endswith(text.raw[len(text.raw) - kept_after :])


def test_patterns_with_line_feeds_match_a_file_with_crlf() -> None:
    text = text_format.decode(b"one\r\ntwo\r\nthree\nfour\r\n")
    found = spans(text.lines, "two\nthree", "2\n2b\n3", path="a", replace_all=False)
    assert text.replaced(found) == "one\r\n2\r\n2b\r\n3\nfour\r\n"


def test_a_whole_new_content_gets_the_file_s_line_ends() -> None:
    form = text_format.decode(b"a\r\nb\r\n").form
    assert text_format.as_file("x\ny\n", form)[0] == "x\r\ny\r\n"
    assert text_format.as_file("x\r\ny\n", form)[0] == "x\r\ny\n"
    assert text_format.as_file("x\ny\n", None)[0] == "x\ny\n"


def test_an_edit_that_does_not_match_shows_the_nearest_lines() -> None:
    text = "def lamp(colour):\n    return colour\n\n\ndef other():\n    pass\n"
    with pytest.raises(ToolError, match="the nearest is:\n    1 def lamp\\(colour\\):\n    2     return colour"):
        spans(text, "def lamp(color):\n    return color", "x", path="a.py", replace_all=False)
    assert "no line is similar" in closest_lines(text, "%%%%%%%%%%%%%%%%")


def test_a_difference_too_large_to_compare_is_named_quickly() -> None:
    before, after = "\n".join(map(str, range(100_000))), "\n".join(f"x{n}" for n in range(100_000))
    assert "lines 1 to 100000 are replaced by 100000 others" in diff(before, after, "a")
    one = before.replace("\n50000\n", "\nfifty\n")
    assert "@@ -49998,7 +49998,7 @@" in diff(before, one, "a")
