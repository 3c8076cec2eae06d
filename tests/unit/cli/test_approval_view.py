"""An approval shows all that would happen, or says how much it leaves out; nothing in it is hidden."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syntor.cli.approval_view import fitted, heading, preview_lines
from syntor.cli.event import Event
from syntor.cli.event_line import event_line
from syntor.cli.output import first_line, table
from syntor.cli.run_text import describe_call
from syntor.contracts.http.v1 import Approval


def _approval(preview: str, title: str = "bash make") -> Approval:
    return Approval(
        run_id="r",
        task_id="t1",
        approval_id="a",
        title=title,
        preview=preview,
        reason="commands require approval",
        rule="",
        content_hash="0",
        expires_at=None,
        decision=None,
        position=1,
    )


def _shown(preview: str, columns: int = 80, rows: int = 24) -> tuple[list[str], bool]:
    shown = fitted(preview_lines(_approval(preview)), columns, rows)
    return [line.plain for line in shown.lines], shown.whole


def test_a_short_command_is_shown_whole() -> None:
    assert _shown("make release") == (["  make release"], True)


@pytest.mark.parametrize("preview", ["echo ok #" + "x" * 4500 + "\nrm -rf data", "true\n" * 500 + "rm -rf data"])
def test_the_end_of_a_long_command_is_shown_and_what_is_left_out_is_counted(preview: str) -> None:
    lines, whole = _shown(preview)
    assert not whole
    assert len(lines) < 24
    assert lines[-1] == "  rm -rf data"
    [mark] = [line for line in lines if "not shown here" in line]
    assert int(mark.split()[1]) + len(lines) - 1 == len(_shown(preview, rows=100_000)[0])


def test_the_command_is_not_repeated_in_the_title() -> None:
    assert heading(_approval("make", "bash make"))[0] == "Approval needed: bash"
    assert heading(_approval("{}", "http_request POST x"))[0] == "Approval needed: http_request POST x"


_HOSTILE = st.text(alphabet=st.sampled_from("ab \n\t\x00\x07\x1b\x7f\x9b\r\u202e\u200b\u2066\u2028\ufe0f\U000e0041["))
_HIDDEN = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")


@given(_HOSTILE)
def test_no_view_hides_a_character(text: str) -> None:
    event = Event(position=1, type="x", subject=text, time=datetime.now(UTC), data=text.encode())
    views = [
        "\n".join(_shown(text)[0]),
        "\n".join(heading(_approval(text, f"bash {text}"))),
        table(("A", "B"), [(text, text)]),
        first_line(text),
        event_line(event),
        describe_call("bash", '{"command": "\\u001b[2K\\u202e"}'),
    ]
    for view in views:
        hidden = [each for each in view if each not in "\n\t" and unicodedata.category(each) in _HIDDEN]
        assert hidden == []
        assert "\U000e0041" not in view
