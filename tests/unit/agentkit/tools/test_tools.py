"""Tools look at files inside the workspace; everything else is refused before it runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syntor.agentkit.domain import tool_policy as policy
from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.tools import files
from syntor.agentkit.tools.catalog import LOCAL_TOOLS, all_tools
from syntor.agentkit.tools.own_files import usable_workspace
from syntor.agentkit.tools.paths import proposed_call
from syntor.agentkit.tools.sandbox import limits_only
from syntor.agentkit.tools.tool import MAX_OUTPUT_CHARACTERS, ToolRun, bounded
from syntor.contracts.run.v1 import Permissions
from syntor.models.chat import ModelError


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    root = tmp_path / "work"
    (root / "src").mkdir(parents=True)
    (root / "src" / "lamp.py").write_text("colour = 'red'\nprint(colour)\n")
    (root / ".env").write_text("KEY=1\n")
    (tmp_path / "outside.txt").write_text("no")
    (root / "link.txt").symlink_to(tmp_path / "outside.txt")
    return root


def at(workspace: Path) -> ToolRun:
    return ToolRun(workspace=workspace, sandbox=limits_only(workspace, "a test"), key="r1.t1.c1_1")


@pytest.mark.parametrize(
    "path", ["../outside.txt", "/etc/passwd", "link.txt", "src/../../outside.txt", ".env", "src/id_rsa", ".ssh/config"]
)
def test_what_is_outside_or_secret_is_denied_with_a_reason(workspace: Path, path: str) -> None:
    call = proposed_call(LOCAL_TOOLS["read_file"], files.ReadFile(path=path), workspace)
    verdict = policy.decide(call, Permissions(mode="auto", allow=["*"]))
    assert verdict.decision == "deny"
    assert path in verdict.reason


@pytest.mark.parametrize("path", [".syntor/key", "link/key", ".syntor"])
async def test_files_of_syntor_itself_are_denied_wherever_the_workspace_is(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    home = workspace / ".syntor"
    home.mkdir()
    (home / "key").write_text("secret")
    (workspace / "link").symlink_to(home)
    monkeypatch.setenv("SYNTOR_HOME", str(home))
    verdict = policy.decide(
        proposed_call(LOCAL_TOOLS["read_file"], files.ReadFile(path=path), workspace),
        Permissions(mode="auto", allow=["*"]),
    )
    assert (verdict.decision, verdict.reason) == ("deny", f"{path} belongs to Syntor itself")
    with pytest.raises(ToolError, match="Syntor itself"):
        await files.read_file(at(workspace), files.ReadFile(path=path))
    with pytest.raises(ToolError, match="Syntor itself"):
        await files.list_directory(at(workspace), files.ListDirectory(path=path))


def test_a_workspace_is_never_in_syntors_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("SYNTOR_HOME", str(home))
    (tmp_path / "link").symlink_to(home)
    for own in (home, home / "data", home / "run" / "x", tmp_path / "link", tmp_path / "link" / "mcp"):
        with pytest.raises(ModelError, match="belongs to Syntor itself"):
            usable_workspace(str(own))
    for other in (tmp_path, home / "work"):
        assert usable_workspace(str(other)) == other


def test_what_is_inside_is_allowed_and_nothing_is_without_a_workspace(workspace: Path) -> None:
    read, path = LOCAL_TOOLS["read_file"], files.ReadFile(path="src/lamp.py")
    assert policy.decide(proposed_call(read, path, workspace), Permissions()).decision == "allow"
    assert policy.decide(proposed_call(read, path, None), Permissions()).decision == "deny"


async def test_files_are_read_and_listed(workspace: Path) -> None:
    assert "    1 colour = 'red'" in await files.read_file(at(workspace), files.ReadFile(path="src/lamp.py"))
    assert await files.list_directory(at(workspace), files.ListDirectory()) == ".env\nlink.txt\nsrc/"


@pytest.mark.parametrize("path", ["missing.txt", "src", "../outside.txt"])
async def test_what_cannot_be_read_is_an_error_for_the_model(workspace: Path, path: str) -> None:
    with pytest.raises(ToolError):
        await files.read_file(at(workspace), files.ReadFile(path=path))


def test_output_is_bounded_and_says_so() -> None:
    text = bounded("x" * (MAX_OUTPUT_CHARACTERS + 5))
    assert "5 characters were left out" in text


def test_every_parameter_of_every_tool_is_described_without_references() -> None:
    for tool in all_tools().values():
        parameters = tool.parameters()
        assert parameters["type"] == "object"
        assert "$ref" not in str(parameters)
        for name, described in _parameters(parameters):
            assert described.get("description"), f"{tool.name}: {name}"


def _parameters(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the parameters of a tool, also those of objects inside."""
    for name, described in schema.get("properties", {}).items():
        yield name, described
        yield from _parameters(described)
        yield from _parameters(described.get("items", {}))
