"""Tools look at files inside the workspace; everything else is refused before it runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from syntor.agentkit.tools import files, policy
from syntor.agentkit.tools.catalog import TOOLS
from syntor.agentkit.tools.tool import MAX_OUTPUT_CHARACTERS, ToolError, bounded


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    root = tmp_path / "work"
    (root / "src").mkdir(parents=True)
    (root / "src" / "lamp.py").write_text("colour = 'red'\nprint(colour)\n")
    (root / ".env").write_text("KEY=1\n")
    (tmp_path / "outside.txt").write_text("no")
    (root / "link.txt").symlink_to(tmp_path / "outside.txt")
    return root


@pytest.mark.parametrize(
    "path", ["../outside.txt", "/etc/passwd", "link.txt", "src/../../outside.txt", ".env", "src/id_rsa", ".ssh/config"]
)
def test_what_is_outside_or_secret_is_denied_with_a_reason(workspace: Path, path: str) -> None:
    decision, reason = policy.decide(workspace, [path])
    assert decision == "deny"
    assert path in reason


def test_what_is_inside_is_allowed_and_nothing_is_without_a_workspace(workspace: Path) -> None:
    assert policy.decide(workspace, ["src/lamp.py", "."])[0] == "allow"
    assert policy.decide(None, [])[0] == "deny"


async def test_files_are_read_found_and_searched(workspace: Path) -> None:
    assert "    1 colour = 'red'" in await files.read_file(workspace, files.ReadFile(path="src/lamp.py"))
    assert await files.list_directory(workspace, files.ListDirectory()) == ".env\nlink.txt\nsrc/"
    assert await files.glob(workspace, files.Glob(pattern="**/*.py")) == "src/lamp.py"
    assert await files.grep(workspace, files.Grep(pattern="prin.")) == "src/lamp.py:2: print(colour)"
    assert await files.grep(workspace, files.Grep(pattern="KEY")) == "no line matches"


@pytest.mark.parametrize("path", ["missing.txt", "src", "../outside.txt"])
async def test_what_cannot_be_read_is_an_error_for_the_model(workspace: Path, path: str) -> None:
    with pytest.raises(ToolError):
        await files.read_file(workspace, files.ReadFile(path=path))


async def test_a_broken_pattern_is_an_error_for_the_model(workspace: Path) -> None:
    with pytest.raises(ToolError, match="pattern"):
        await files.grep(workspace, files.Grep(pattern="("))


def test_output_is_bounded_and_says_so() -> None:
    text = bounded("x" * (MAX_OUTPUT_CHARACTERS + 5))
    assert text.endswith("5 more characters were cut")


def test_every_tool_describes_its_arguments_without_references() -> None:
    for tool in TOOLS.values():
        parameters = tool.parameters()
        assert parameters["type"] == "object"
        assert "$ref" not in str(parameters)
