"""Which keys cancel a run, and which text is kept for the next line."""

from __future__ import annotations

import pytest

from syntor.cli.interactive.cancel_keys import is_cancel, typed_text


@pytest.mark.parametrize(
    ("keys", "cancels"),
    [
        (b"\x1b", True),
        (b"\x1b\x1b", True),
        (b"\x03", True),
        (b"abc\x03", True),
        (b"", False),
        (b"a", False),
        (b"\x1b[A", False),
        (b"\x1bOP", False),
        (b"\x1b[12;1R", False),
    ],
)
def test_a_lone_escape_or_ctrl_c_cancels(keys: bytes, cancels: bool) -> None:
    assert is_cancel(keys) is cancels


def test_text_typed_meanwhile_is_kept_without_other_keys() -> None:
    assert typed_text("né\x1b[Axt\x1b[200~ li\x7fne\r".encode()) == "néxt line\n"
