"""Custom commands: filled in one pass, layered, and reported when broken."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from syntor.cli.interactive.custom import SHIPPED, load_commands, parse_command, problems


def _command(text: str) -> str:
    return parse_command("x", Path("x.md"), text).fill("red lamp")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("Paint a {{args}} now", "Paint a red lamp now"),
        ("Paint a $ARGUMENTS", "Paint a red lamp"),
        ("$2 in $1, not $3.", "lamp in red, not ."),
        ("Paint it", "Paint it\n\nred lamp"),
        ("Pay $10 for {{ args }}", "Pay $10 for red lamp"),
        ("Pay $10", "Pay $10\n\nred lamp"),
    ],
)
def test_arguments_replace_placeholders_or_are_appended(template: str, message: str) -> None:
    assert _command(template) == message


def test_text_from_arguments_is_not_filled_again() -> None:
    assert parse_command("x", Path("x.md"), "Say {{args}}").fill("$1 {{args}}") == "Say $1 {{args}}"


def test_quotes_hold_words_together_and_a_lone_quote_is_text() -> None:
    command = parse_command("x", Path("x.md"), "[$1] [$2]")
    assert command.fill("'red lamp' on") == "[red lamp] [on]"
    assert command.fill("don't stop") == "[don't] [stop]"


def test_a_hint_in_brackets_needs_no_quotes_and_longer_rules_end_nothing() -> None:
    command = parse_command("x", Path("x.md"), "---\nargument-hint: [file]\nmodel:\n---\nOne\n----\nTwo")
    assert (command.front.argument_hint, command.front.model) == ("[file]", "")
    assert command.template == "One\n----\nTwo"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("open.md", b"---\nagent: git\n", "closing"),
        ("list.md", b"---\n- a\n---\ntext", "front matter"),
        ("agent.md", b"---\ndescription: x\nagent: [a]\n---\ntext", "agent.md, line 3: agent: expected a text"),
        ("latin.md", b"\xe9", "UTF-8"),
        ("two words.md", b"text", "name"),
        ("large.md", b"x" * (256 * 1024 + 1), "larger"),
    ],
)
def test_a_broken_file_is_one_line_with_the_reason(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / "commands").mkdir()
    (tmp_path / "commands" / name).write_bytes(content)
    (line,) = problems(tmp_path, None)
    assert name in line
    assert said in line
    assert "\n" not in line


def test_names_that_differ_in_case_only_are_reported(tmp_path: Path) -> None:
    (tmp_path / "commands").mkdir()
    (tmp_path / "commands" / "A.md").write_text("one")
    (tmp_path / "commands" / "a.md").write_text("two")
    commands, broken = load_commands(tmp_path, None)
    if len(list((tmp_path / "commands").iterdir())) == 2:  # not where the file system takes them for one
        assert commands["a"].template == "one"
        assert "already" in broken[0]


def test_front_matter_is_read_whatever_the_line_ends_and_marks() -> None:
    lines = [
        "---",
        "description: Paints",
        "agent: worker",
        "argument-hint: <what>",
        "other: 1",
        "---",
        "Paint {{args}}",
    ]
    text = "\ufeff" + "\r\n".join([*lines, ""])
    command = parse_command("paint", Path("paint.md"), text)
    assert (command.front.description, command.front.agent, command.front.argument_hint) == (
        "Paints",
        "worker",
        "<what>",
    )
    assert command.fill("it") == "Paint it"


def test_later_layers_win_folders_are_part_of_the_name_and_broken_files_are_reported(tmp_path: Path) -> None:
    home, project = tmp_path / "home", tmp_path / "project"
    (home / "commands" / "team").mkdir(parents=True)
    (project / ".syntor" / "commands").mkdir(parents=True)
    (home / "commands" / "review.md").write_text("mine")
    (home / "commands" / "team" / "x.md").write_text("nested")
    (home / "commands" / "broken.md").write_text("---\ndescription: [\n---\ntext\n")
    (home / "commands" / "empty.md").write_text("")
    (project / ".syntor" / "commands" / "review.md").write_text("the project's")
    commands, broken = load_commands(home, project)
    assert commands["review"].template == "the project's"
    assert commands["team/x"].template == "nested"
    assert commands["commit"].path.parent == SHIPPED
    assert [Path(re.split(r", line \d+: |: ", line)[0]).name for line in broken] == ["broken.md", "empty.md"]
    assert all("\n" not in line for line in broken)
    assert problems(home, None) == broken


def test_the_shipped_commands_are_valid(tmp_path: Path) -> None:
    commands, broken = load_commands(tmp_path, None)
    assert broken == []
    assert {"commit", "explain", "review", "test"} <= set(commands)
    assert all(command.front.description for command in commands.values())


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.md")), ids=lambda path: path.stem)
def test_a_shipped_command_is_read_the_same_when_it_is_validated(path: Path) -> None:
    shipped, text = load_commands(Path("/nonexistent"), None)[0][path.stem], path.read_text()
    validated = parse_command(path.stem, Path(path.name), text)
    assert (validated.front, validated.template) == (shipped.front, shipped.template)
    assert shipped.front.description
