"""Files mentioned with @ are attached; one that cannot be is an error before anything is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from syntor.cli.interactive.mentions import MAX_BYTES, attachments, mentioned, without_escapes
from syntor.contracts.errors import InvalidInputError
from syntor.contracts.run.v1 import Attachment


def test_a_mention_begins_a_word_and_counts_once() -> None:
    assert mentioned('see @a.py @b/c.py me@example.org @a.py @"d e.md" @ \\@f') == ["a.py", "b/c.py", "d e.md"]


def test_an_escaped_at_sign_is_text() -> None:
    assert without_escapes("what is \\@dataclass to @a.py") == "what is @dataclass to @a.py"


def test_punctuation_after_a_file_is_part_of_its_name_only_if_such_a_file_exists(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "b!").write_text("bang")
    assert attachments("(look) at @a.txt, @b! and @a.txt.", tmp_path) == [
        Attachment(name="a.txt", content="text"),
        Attachment(name="b!", content="bang"),
    ]


def test_a_file_at_the_cap_is_attached(tmp_path: Path) -> None:
    (tmp_path / "full.txt").write_text("x" * MAX_BYTES)
    assert len(attachments("@full.txt", tmp_path)[0].content) == MAX_BYTES


@pytest.mark.parametrize(
    ("name", "content"),
    [("missing", None), ("big", b"x" * (MAX_BYTES + 1)), ("binary", b"a\0b"), ("latin", b"\xe9t\xe9"), ("folder", b"")],
)
def test_a_file_that_cannot_be_attached_is_an_error_that_names_it(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    if name == "folder":
        (tmp_path / name).mkdir()
    elif content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInputError, match=name):
        attachments(f"see @{name}", tmp_path)
