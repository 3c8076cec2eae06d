"""Custom commands: filled in one pass, layered, and reported when broken."""

from __future__ import annotations

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
    ],
)
def test_arguments_go_to_their_places_or_to_the_end(template: str, message: str) -> None:
    assert _command(template) == message


def test_text_from_arguments_is_not_filled_again() -> None:
    assert parse_command("x", Path("x.md"), "Say {{args}}").fill("$1 {{args}}") == "Say $1 {{args}}"


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


def test_later_layers_win_folders_are_part_of_the_name_and_broken_files_are_told(tmp_path: Path) -> None:
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
    assert [Path(line.split(": ")[0]).name for line in broken] == ["broken.md", "empty.md"]
    assert all("\n" not in line for line in broken)
    assert problems(home, None) == broken


def test_the_shipped_commands_are_right(tmp_path: Path) -> None:
    commands, broken = load_commands(tmp_path, None)
    assert broken == []
    assert {"commit", "explain", "review", "test"} <= set(commands)
    assert all(command.front.description for command in commands.values())
