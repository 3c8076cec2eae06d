"""Parsing of a typed line."""

from __future__ import annotations

import pytest

from syntor.cli.interactive.parsing import Message, Shell, Slash, Unknown, parse
from syntor.cli.interactive.session import words_of
from syntor.cli.interactive.slash_commands import COMMANDS

WORDS = words_of(COMMANDS)


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
    assert parse(line, WORDS | {"team/x": "team/x"}) == meaning


def test_a_custom_command_may_replace_a_built_in_one() -> None:
    assert parse("/exit now", WORDS | {"exit": "exit"}) == Slash("exit", "now")


def test_each_word_stands_for_one_command() -> None:
    words = [word for command in COMMANDS for word in (command.name, *command.aliases)]
    assert sorted(set(words)) == sorted(words)
    assert set(WORDS.values()) == {command.name for command in COMMANDS}


def test_a_line_that_begins_with_an_exclamation_mark_is_a_shell_command() -> None:
    assert parse("!ls -l", WORDS) == Shell("ls -l")
    assert parse("!", WORDS) == Message("!")
