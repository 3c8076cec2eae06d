"""Server-sent events are parsed as the HTML standard says, however the bytes are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syntor.runtime import sse
from syntor.runtime.sse import Lines, ServerEvent, parse

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=20)


@given(
    events=st.lists(st.lists(TEXTS, min_size=1, max_size=3), max_size=4),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    cut=st.integers(1, 7),
)
def test_every_text_comes_through_whole_in_pieces_of_any_size(events: list[list[str]], end: str, cut: int) -> None:
    sent = "".join("".join(f"data: {line}{end}" for line in lines) + end for lines in events).encode()
    pieces = [sent[start : start + cut] for start in range(0, len(sent), cut)]

    assert [event.data for event in parse(pieces)] == ["\n".join(lines) for lines in events]


@pytest.mark.parametrize(
    ("sent", "events"),
    [
        ("event: x\ndata: 1\n\n", [("x", "1")]),
        ("data\n\n", [("message", "")]),
        ("data:1\ndata:  2\n\n", [("message", "1\n 2")]),
        (": comment\nid: 7\nretry: 5\nother: x\ndata: 1\n\n", [("message", "1")]),
        ("event: x\n\ndata: 1\n\n", [("message", "1")]),
        ("\ufeffdata: 1\n\n", [("message", "1")]),
        ("data: 1\n\ndata: 2\n", [("message", "1")]),
        ("data: a\u2028event: b\x0bc\x0c\x1c\x85\n\n", [("message", "a\u2028event: b\x0bc\x0c\x1c\x85")]),
    ],
)
def test_fields_are_read_as_the_standard_says(sent: str, events: list[tuple[str, str]]) -> None:
    assert list(parse([sent.encode()])) == [ServerEvent(name, data) for name, data in events]


def test_bytes_that_are_no_utf_8_are_replaced() -> None:
    assert [event.data for event in parse([b"data: a\xffb\n\n"])] == ["a\ufffdb"]


def test_an_endless_event_or_line_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_CHARACTERS", 100)
    with pytest.raises(ValueError, match="more than 100 characters"):
        list(parse([b"data: x2\n"] * 60))
    with pytest.raises(ValueError, match="more than 100 characters"):
        list(Lines().feed(b"x" * 101))
