"""What a typed line means, and which files it attaches."""

from __future__ import annotations

from pathlib import Path

import pytest

from syntor.cli.interactive.parsing import MAX_ATTACHMENT_BYTES, Message, Slash, Unknown, attach, mentions, parse


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        ("hello", Message("hello")),
        ("/help", Slash("help", "")),
        ("/DOCS explain this", Slash("docs", "explain this")),
        ("/exit", Slash("quit", "")),
        ("/team/x a b", Slash("team/x", "a b")),
        ("/hepl", Unknown("hepl", ["help"])),
        ("/zzzzzz", Unknown("zzzzzz", [])),
    ],
)
def test_a_line_is_a_message_a_command_or_a_mistake(line: str, meaning: object) -> None:
    assert parse(line, ["team/x"]) == meaning


def test_a_custom_command_may_replace_a_built_in_one() -> None:
    assert parse("/exit now", ["exit"]) == Slash("exit", "now")


def test_mentions_are_paths_after_an_at_sign_that_begins_a_word() -> None:
    assert mentions("see @a.py, @b/c.py. and me@example.org @a.py") == ["a.py", "b/c.py"]


def test_files_are_attached_and_what_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "big.txt").write_text("x" * (MAX_ATTACHMENT_BYTES + 1))
    (tmp_path / "binary").write_bytes(b"\0")
    attachments, errors = attach("@a.txt @big.txt @binary @missing", tmp_path)
    assert attachments == [{"name": "a.txt", "content": "text"}]
    assert [error.split(":")[0] for error in errors] == ["@big.txt", "@binary", "@missing"]
