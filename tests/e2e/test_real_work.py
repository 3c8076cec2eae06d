"""Agents at work in a real repository, this one: files are edited, tests run, and git shows it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from syntor.testing.local_stack import LocalStack

ROOT = Path(__file__).parents[2]
TEST = f"PYTHONPATH=contracts {sys.executable} -m pytest -q --noconftest tests/unit/contracts/test_ids.py"
RUN_TESTS = "bash(*python -m pytest *)"
"""The interpreter is outside the workspace, so it is asked about in every mode without a rule."""
FILES = (
    "contracts/syntor/contracts/ids.py",
    "contracts/syntor/contracts/subjects.py",
    "tests/unit/contracts/test_ids.py",
)
COPIED = ("contracts", "tests/unit/contracts", "pyproject.toml")


def _calls(name: str, *arguments: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"name": name, "arguments": given} for given in arguments]


def _rename(path: str) -> dict[str, Any]:
    return {"path": path, "old_string": "is_token", "new_string": "fits_token", "replace_all": True}


RULES: list[dict[str, Any]] = [
    {"match": "rename", "times": 1, "tool_calls": _calls("grep", {"pattern": "is_token"})},
    {"match": "rename", "tool_result": "def is_token", "tool_calls": _calls("edit_file", *map(_rename, FILES))},
    {"match": "rename", "tool_result": "edited tests", "tool_calls": _calls("bash", {"command": f"{TEST} --nothing"})},
    {"match": "rename", "tool_result": "unrecognized", "tool_calls": _calls("bash", {"command": TEST})},
    {"match": "rename", "tool_result": "passed", "text": "Renamed is_token to fits_token; the tests pass."},
    {"match": "message", "times": 1, "tool_calls": _calls("git_diff", {"staged": True})},
    {"match": "message", "tool_result": "fits_token", "text": "refactor(contracts): call the check fits_token"},
    {"match": "document", "times": 1, "tool_calls": _calls("read_file", {"path": FILES[0]})},
    {"match": "document", "tool_result": "def new_id", "text": "`new_id()` returns a new id."},
    {"match": "escape", "times": 1, "tool_calls": _calls("write_file", {"path": "../escaped", "content": "x"})},
    {"tool_result": ".", "text": "I could not."},
    {"text": "nothing"},
]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    local = LocalStack(tmp_path_factory.mktemp("home"), script=yaml.safe_dump({"rules": RULES}, sort_keys=False))
    local.up("--durability", "fast")
    yield local
    local.down()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A clone of this project as it is here."""
    clone = tmp_path / "project"
    names = _git(ROOT, "ls-files", "-z", *COPIED)
    for name in filter(None, names.split("\0")):
        target = clone / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_file():
            target.write_bytes((ROOT / name).read_bytes())
    _git(clone, "init", "-q")
    _git(clone, "add", "-A")
    _git(clone, "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qm", "all")
    return clone


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def _anew(stack: LocalStack) -> None:
    stack.script.write_text(stack.script.read_text())


def test_a_function_is_renamed_everywhere_and_the_tests_run(stack: LocalStack, repository: Path) -> None:
    _anew(stack)
    request = "rename function is_token to fits_token everywhere and run the tests"
    blocked = stack.syntor("worker", "--code", request, cwd=repository)
    assert blocked.returncode == 5, blocked.stderr  # mode ask, and no terminal to prompt at
    assert blocked.stderr.count("approval needed: edit_file") == 3
    assert _git(repository, "status", "--short") == ""
    _anew(stack)
    arguments = ["--mode", "auto", "--allow", RUN_TESTS]
    done = stack.syntor("worker", "--code", *arguments, request, cwd=repository, timeout_s=120)
    assert done.returncode == 0, done.stderr
    assert "the tests pass" in done.stdout
    changed = _git(repository, "diff", "--stat")
    assert all(name in changed for name in FILES)
    assert "3 files changed" in changed
    assert "fits_token" in _git(repository, "diff")


def test_mode_auto_edit_allows_edits_and_requires_approval_of_commands(stack: LocalStack, repository: Path) -> None:
    _anew(stack)
    blocked = stack.syntor("worker", "--code", "--mode", "auto-edit", "rename is_token", cwd=repository)
    assert blocked.returncode == 5, blocked.stderr
    assert "approval needed: bash" in blocked.stderr
    assert "3 files changed" in _git(repository, "diff", "--stat")
    _anew(stack)
    _git(repository, "checkout", "-q", ".")
    arguments = ["--mode", "auto-edit", "--allow", RUN_TESTS]
    done = stack.syntor("worker", "--code", *arguments, "rename is_token", cwd=repository)
    assert done.returncode == 0, done.stderr


def test_plan_mode_changes_nothing(stack: LocalStack, repository: Path) -> None:
    _anew(stack)
    done = stack.syntor("worker", "--code", "--mode", "plan", "rename is_token", cwd=repository)
    assert done.returncode == 0, done.stderr
    assert _git(repository, "status", "--short") == ""


def test_a_path_outside_is_refused_and_the_agent_told(stack: LocalStack, repository: Path) -> None:
    done = stack.syntor("worker", "--mode", "auto", "escape", cwd=repository)
    assert (done.returncode, done.stdout.strip()) == (0, "I could not.")
    assert not (repository.parent / "escaped").exists()


def test_git_writes_about_the_real_difference_and_docs_about_the_file(stack: LocalStack, repository: Path) -> None:
    target = repository / FILES[0]
    target.write_text(target.read_text().replace("is_token", "fits_token"))
    _git(repository, "add", "-A")
    written = stack.syntor("git", "write a commit message for the staged changes", cwd=repository)
    assert written.stdout.strip() == "refactor(contracts): call the check fits_token", written.stderr
    documented = stack.syntor("docs", "document module ids", cwd=repository)
    assert "`new_id()`" in documented.stdout, documented.stderr
