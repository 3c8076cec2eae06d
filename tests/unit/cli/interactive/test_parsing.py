"""Parsing of a typed line."""

from __future__ import annotations

import pytest

from syntor.cli.interactive.parsing import Message, Slash, Unknown, parse


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
        ("/", Unknown("", [])),
        ("/coo", Unknown("coo", ["coord"])),
        ("  /git\nwhat changed", Slash("git", "what changed")),
        ("//etc/hosts has what", Message("/etc/hosts has what")),
        ("either/or", Message("either/or")),
    ],
)
def test_a_line_is_a_message_a_command_or_a_mistake(line: str, meaning: object) -> None:
    assert parse(line, ["team/x"]) == meaning


def test_a_custom_command_may_replace_a_built_in_one() -> None:
    assert parse("/exit now", ["exit"]) == Slash("exit", "now")
