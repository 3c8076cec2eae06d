"""Secrets of a real repository: found before they are staged, hidden from results."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from syntor.agentkit.tools.sandbox import open_sandbox
from syntor.agentkit.tools.workspace_secrets import hide_secrets, staged_secrets

TOKEN = "ghp_" + "a1B2" * 9


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text("ignored.pem\n")
    (tmp_path / "ignored.pem").write_text("x")
    (tmp_path / ".env").write_text("API_KEY=correct-horse-battery\n")
    (tmp_path / "notes.txt").write_text(f"token: {TOKEN}\n")
    (tmp_path / "plain.txt").write_text("postgres://user:pass@localhost/x, nothing else\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "deploy.pem").write_text("x")
    return tmp_path


async def test_files_with_secrets_are_found_by_name_and_by_content(workspace: Path) -> None:
    sandbox = await open_sandbox(workspace, network=False)
    assert sorted(await staged_secrets(sandbox, workspace, ["."])) == [".env", "notes.txt", "sub/deploy.pem"]
    assert await staged_secrets(sandbox, workspace, ["plain.txt"]) == ()
    assert await staged_secrets(sandbox, workspace, ["sub"]) == ("sub/deploy.pem",)
    assert await staged_secrets(sandbox, workspace, ["ignored.pem"]) == ("ignored.pem",)


def test_values_of_secret_files_are_hidden_from_any_result(workspace: Path) -> None:
    shown = hide_secrets(workspace, "the key is correct-horse-battery, the port 8000")
    assert "correct-horse" not in shown
    assert "8000" in shown
