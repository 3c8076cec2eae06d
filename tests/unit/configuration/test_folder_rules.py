"""Rules always allowed hold in one folder and below, and are kept outside of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from syntor.configuration.folder_rules import FILE, allow_in, allowed_in
from syntor.contracts.errors import ConfigurationError


def test_a_rule_holds_in_its_folder_and_below_and_nowhere_else(tmp_path: Path) -> None:
    home, project = tmp_path / "home", tmp_path / "project"
    path = allow_in(home, project, "bash(make test)")
    allow_in(home, project, "bash(make test)")
    allow_in(home, project, "edit_file")
    expected = [("bash(make test)", str(project)), ("edit_file", str(project))]
    assert allowed_in(home, project) == allowed_in(home, project / "sub") == expected
    assert allowed_in(home, tmp_path / "project2") == allowed_in(home, None) == []
    assert path == home / FILE
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("text", ["- a", "/x: {allow: [1]}", "/x: {allow: ['bash(rm *']}", "/x: {deny: [bash]}", ":"])
def test_a_file_that_holds_something_else_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ConfigurationError, match=FILE):
        allowed_in(tmp_path, tmp_path)
